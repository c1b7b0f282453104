"""Where budgets get their money: periods, days, top-ups, transfers, loans between siblings.

Every change is transfers in the same turn as the fact that says why; a reset is an event at an
exact instant and never a value read and written back.
"""

from treasury.budget.periods import ROLLING_STEPS, day_bounds, in_force, period_bounds
from treasury.domain import events as e
from treasury.domain.budget import Budget, Mode, Period
from treasury.domain.ids import CostCentre
from treasury.domain.money import format_money
from treasury.engine.book import Book, BudgetRecord
from treasury.engine.draft import Draft
from treasury.ledger.chart import FUNDING, LIMIT_FUNDING, OVERDRAFT, limit, wallet


def _direct(draft: Draft, debit: str, credit: str, amount: int, reason: str) -> None:
    if amount > 0:
        draft.transfers.append(
            draft.book.ledger.direct(debit, credit, amount, event_at=draft.now, reason=reason)
        )


def _accounts(record: BudgetRecord) -> list[tuple[str, str]]:
    """What a budget's amount is put into, and from where: the wallet, and the limit of a parent."""
    centre = record.budget.cost_centre
    pairs = [(wallet(centre), FUNDING)]
    if record.parent:
        pairs.append((limit(centre), LIMIT_FUNDING))
    return pairs


def configure(draft: Draft, event: e.Configure) -> None:
    """Take settings and budgets, unless that would orphan money that is held."""
    book = draft.book
    fault = _conflict(book, event.budgets)
    if fault:
        draft.emit(e.Discrepancy(f"configuration refused: {fault}"))
        return
    old = {centre: record.budget for centre, record in book.budgets.items()}
    draft.emit(e.Configured(event.settings, event.budgets))
    for centre, record in book.budgets.items():
        if record.end == 0:
            open_period(draft, record)
        elif _calendar(record.budget) != _calendar(old[centre]):
            # Another kind of period begins now: the old one might never end.
            _begin(draft, record)
        elif record.budget.amount != old[centre].amount:
            _resize(draft, record, record.budget.amount - old[centre].amount)
        if record.budget.day_cap and record.day_end == 0:
            open_day(draft, record)


def _conflict(book: Book, budgets: tuple[Budget, ...]) -> str:
    """Why new budgets cannot replace those whose money machines hold; empty when they can."""
    parents = {budget.cost_centre: budget.parent for budget in budgets}
    used = {placement.cost_centre for placement in book.placements.values()}
    used |= {job.spec.cost_centre for job in book.jobs.values()}
    for centre in sorted(used):
        if centre not in parents:
            return f"cost centre {centre} has active jobs and is missing"
    for centre in sorted({p.cost_centre for p in book.placements.values()}):
        for level in book.budgets[centre].chain:
            record = book.budgets[level]
            if parents.get(level, "") != record.budget.parent:
                return f"cost centre {level} holds machines and cannot move in the tree"
            if record.parent != (level in parents.values()):
                return f"cost centre {level} holds machines and cannot gain or lose its first child"
    return ""


def _resize(draft: Draft, record: BudgetRecord, difference: int) -> None:
    """A changed amount counts at once: more is funded, less takes back what is free."""
    ledger, returned = draft.book.ledger, 0
    for account, funding in _accounts(record):
        if difference > 0:
            _direct(draft, account, funding, difference, "resize")
        else:
            back = min(-difference, max(0, ledger.available(account)))
            _direct(draft, funding, account, back, "resize")
            if account == record.account:
                returned = back
    draft.emit(e.BudgetResized(record.budget.cost_centre, returned))


def open_period(draft: Draft, record: BudgetRecord) -> None:
    """Begin a budget's next period, or move its rolling window by a step."""
    if record.budget.period is Period.ROLLING and record.end:
        _roll(draft, record)
    else:
        _begin(draft, record)


def _calendar(budget: Budget) -> tuple[Period, str, int, int, int]:
    """What a budget's periods are made of."""
    return budget.period, budget.zone, budget.window, budget.starts_at, budget.ends_at


def _begin(draft: Draft, record: BudgetRecord) -> None:
    """What is left goes, or is carried over; the amount comes, less what running machines still
    hold."""
    ledger, now, budget = draft.book.ledger, draft.now, record.budget
    carried = 0
    for account, funding in _accounts(record):
        left = max(0, ledger.available(account))
        carried = left * budget.carry // 1_000
        _direct(draft, funding, account, left - carried, "sweep")
        if in_force(budget, now):
            pending = ledger.account(account).credit_pending
            _direct(draft, account, funding, budget.amount - pending, "fund")
    start, end = period_bounds(budget, now)
    base = ledger.account(record.account).credit_posted
    draft.emit(e.PeriodOpened(budget.cost_centre, start, end, base, carried))


def _roll(draft: Draft, record: BudgetRecord) -> None:
    """One step of a rolling window: what was spent a window ago may be spent again."""
    budget = record.budget
    posted = draft.book.ledger.account(record.account).credit_posted
    steps = (*record.steps, posted - record.base)
    if len(steps) > ROLLING_STEPS:
        for account, funding in _accounts(record):
            _direct(draft, account, funding, steps[0], "roll")
        steps = steps[1:]
    start, end = period_bounds(budget, draft.now)
    draft.emit(e.PeriodOpened(budget.cost_centre, start, end, posted, record.granted, steps))


def open_day(draft: Draft, record: BudgetRecord) -> None:
    """Begin a day of a budget that caps its days."""
    start, end = day_bounds(record.budget, draft.now)
    base = draft.book.ledger.account(record.account).credit_posted
    draft.emit(e.DayOpened(record.budget.cost_centre, start, end, base))


def change(draft: Draft, event: e.ChangeBudget) -> None:
    """Top up, take back, or move money between centres; refused when it is not there."""
    book, ledger = draft.book, draft.book.ledger
    record = book.budgets.get(event.cost_centre)
    source = None if event.source is None else book.budgets.get(event.source)
    why = ""
    if record is None or (event.source is not None and source is None):
        why = "no such cost centre"
    elif event.amount == 0 or (event.source is not None and event.amount < 0):
        why = "the amount must be above zero"
    elif event.source == event.cost_centre:
        why = "source and destination are the same"
    giver = source if source is not None else record if event.amount < 0 else None
    if not why and giver is not None:
        free = min(ledger.available(account) for account, _ in _accounts(giver))
        if free < abs(event.amount):
            why = f"{giver.budget.cost_centre} has {format_money(free)} available"
    if why or record is None:
        draft.emit(e.BudgetChangeRefused(event.cost_centre, event.amount, event.by, why))
        return
    if giver is not None:
        for account, funding in _accounts(giver):
            _direct(draft, funding, account, abs(event.amount), "change")
    if event.amount > 0:
        for account, funding in _accounts(record):
            _direct(draft, account, funding, event.amount, "change")
    draft.emit(e.BudgetChanged(event.cost_centre, event.amount, event.by, event.source))


def freeze(draft: Draft, event: e.FreezeBudget) -> None:
    """Stop a cost centre from taking machines, or let it again."""
    record = draft.book.budgets.get(event.cost_centre)
    if record is not None and record.frozen != event.frozen:
        draft.emit(e.BudgetFrozen(event.cost_centre, event.frozen, event.by))


def cover(draft: Draft, cost_centre: CostCentre, amount: int) -> bool:
    """Make sure that every account that pays can be drawn by an amount [micro-USD].

    A short wallet first has back what it lent, then borrows; a budget that does not enforce is
    topped up from the overdraft. False when a level stays short.
    """
    book, ledger = draft.book, draft.book.ledger
    own = wallet(cost_centre)
    if book.lending and ledger.available(own) < amount:
        _reclaim(draft, cost_centre, amount - ledger.available(own))
        _borrow(draft, cost_centre, amount - ledger.available(own))
    for centre in book.budgets[cost_centre].chain:
        record = book.budgets[centre]
        if record.budget.mode is Mode.ENFORCE:
            continue
        for account, funding in _accounts(record):
            if account == own or account == limit(centre):
                source = OVERDRAFT if account == own else funding
                _direct(draft, account, source, amount - ledger.available(account), "overdraft")
    return all(ledger.available(credit) >= amount for credit, _ in book.routes(cost_centre))


def _reclaim(draft: Draft, lender: CostCentre, missing: int) -> None:
    for borrower in draft.book.siblings(lender):
        amount = min(missing, draft.book.owed(lender, borrower))
        if amount > 0:
            _direct(draft, wallet(lender), wallet(borrower), amount, "give_back")
            draft.emit(e.BudgetLent(lender, borrower, -amount))
            missing -= amount


def _borrow(draft: Draft, borrower: CostCentre, missing: int) -> None:
    record = draft.book.budgets[borrower]
    if record.children or missing <= 0:
        return
    room = record.budget.borrow - sum(record.debts.values())
    for lender in draft.book.siblings(borrower):
        amount = min(missing, room, draft.book.spare(lender))
        if amount > 0:
            _direct(draft, wallet(borrower), wallet(lender), amount, "borrow")
            draft.emit(e.BudgetLent(lender, borrower, amount))
            missing -= amount
            room -= amount


def notice_soft_caps(draft: Draft, cost_centre: CostCentre) -> None:
    """Write down, once a period, that a soft cap was passed."""
    book = draft.book
    for centre in book.budgets[cost_centre].chain:
        record = book.budgets[centre]
        if not record.budget.soft or record.noticed:
            continue
        level = book.level(centre)
        if (level.spent + level.held) * 1_000 >= level.limit * record.budget.soft:
            draft.emit(e.SoftCapReached(centre, level.limit, level.held, level.spent))
