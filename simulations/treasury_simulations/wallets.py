"""Budgets over time, from the journal's transfers alone."""

from collections.abc import Callable
from typing import Any, Final

from treasury.domain import events as e
from treasury.domain.budget import Budget
from treasury.domain.ids import CostCentre
from treasury.domain.transfer import Transfer, TransferKind
from treasury.ledger.chart import limit, wallet
from treasury_simulations.record import BudgetSeries
from treasury_simulations.series import Series

_HOLD: Final = TransferKind.HOLD
_POST: Final = TransferKind.POST
_DIRECT: Final = TransferKind.DIRECT
_REVERSAL: Final = TransferKind.REVERSAL
# Accounts that receive what was spent; every other direct transfer moves budgets about.
_SPENDING: Final = ("expenses:", "used:")


class _Level:
    """One cost centre's account [micro-USD]; spent: of the present period."""

    __slots__ = ("available", "budget", "held", "series", "spent")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.available = self.held = self.spent = 0
        self.series = Series()


class Wallets:
    """Follows the account that says what each cost centre and all below it may spend."""

    def __init__(self) -> None:
        self._levels: dict[CostCentre, _Level] = {}
        self._accounts: dict[str, _Level] = {}
        self._holds: dict[int, int] = {}
        self.handlers: dict[type, Callable[[Any, int], None]] = {
            e.Configured: self._configured,
            e.PeriodOpened: self._opened,
        }

    def series(self) -> list[BudgetSeries]:
        """One series a budget, in the configuration's order."""
        made = []
        for centre, level in self._levels.items():
            at, available, held, spent = level.series.columns(4)
            made.append(
                BudgetSeries(
                    cost_centre=centre,
                    limit=level.budget.amount,
                    at=at,
                    available=available,
                    held=held,
                    spent=spent,
                )
            )
        return made

    def take(self, transfers: tuple[Transfer, ...], at: int) -> None:
        """A turn's transfers, written at an instant [ns]; after the turn's facts."""
        touched: dict[CostCentre, _Level] = {}
        accounts, holds = self._accounts, self._holds
        for transfer in transfers:
            kind, amount = transfer.kind, transfer.amount
            level = accounts.get(transfer.credit)
            if kind is _HOLD:
                if level is None:
                    continue
                holds[transfer.id] = amount
                level.available -= amount
                level.held += amount
            elif kind is _DIRECT or kind is _REVERSAL:
                self._direct(transfer, touched)
                continue
            else:
                if level is None or transfer.refers is None:
                    continue
                held = holds.pop(transfer.refers)
                level.held -= held
                level.available += held
                if kind is _POST:
                    level.available -= amount
                    level.spent += amount
            touched[level.budget.cost_centre] = level
        for level in touched.values():
            level.series.add((at, level.available, level.held, level.spent))

    def _direct(self, transfer: Transfer, touched: dict[CostCentre, _Level]) -> None:
        source = self._accounts.get(transfer.credit)
        if source is not None:
            source.available -= transfer.amount
            if transfer.debit.startswith(_SPENDING):
                source.spent += transfer.amount
            touched[source.budget.cost_centre] = source
        target = self._accounts.get(transfer.debit)
        if target is not None:
            target.available += transfer.amount
            if transfer.credit.startswith(_SPENDING):
                target.spent -= transfer.amount
            touched[target.budget.cost_centre] = target

    def _configured(self, fact: e.Configured, at: int) -> None:
        del at
        parents = {budget.parent for budget in fact.budgets}
        for budget in fact.budgets:
            centre = budget.cost_centre
            level = self._levels.get(centre)
            if level is None:
                level = self._levels[centre] = _Level(budget)
                account = limit(centre) if centre in parents else wallet(centre)
                self._accounts[account] = level
            level.budget = budget

    def _opened(self, fact: e.PeriodOpened, at: int) -> None:
        del at
        self._levels[fact.cost_centre].spent = 0
