"""What only live markets do: ends learned late, prices that stay, journals that are lost."""

import msgspec

from tests.support.table import A, Table
from treasury.domain import events as e
from treasury.domain.commands import Acquire
from treasury.domain.market import Quote
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import Place
from treasury.domain.time import HOUR, MINUTE
from treasury.ledger.audit import audit
from treasury.ledger.chart import wallet


def test_a_machine_that_ended_before_it_was_metered_is_charged_until_its_end():
    """The end comes with a listing after a metering: what was charged too much is given back, at
    every level, and the charge is the market's."""
    table = Table()
    table.run()
    before = table.book.ledger.available(wallet("team"))
    table.turn(e.Wake(), at=HOUR)
    table.turn(e.MachineLost(1, HOUR // 2, "interrupted"), at=HOUR + MINUTE)
    metered = table.facts(e.LeaseMetered)[-1]
    assert (metered.charge, metered.until) == (MICRO // 2, HOUR // 2)
    held = 2 * 3 * MICRO + 3 * MICRO // 60
    assert table.book.ledger.available(wallet("team")) == before + held - MICRO // 2
    assert audit(table.entries) == []
    table.check()


def test_a_price_that_stays_keeps_its_offer_tradable():
    """Where quotes grow too old, one that repeats the old price is taken before that happens."""
    table = Table()
    settings = msgspec.structs.replace(table.book.settings, quote_age_max=40 * MINUTE)
    budgets = tuple(record.budget for record in table.book.budgets.values())
    table.turn(e.Configure(settings, budgets))
    for minute in (5, 10, 15, 20):
        at = minute * MINUTE
        table.turn(e.SeeQuotes((Quote(A.id, NANO, 5, at, at),)), at=at)
    seen = [f.quotes[0].observed_at for f in table.facts(e.Quoted) if f.quotes[0].offer == A.id]
    assert seen == [0, 10 * MINUTE, 20 * MINUTE]
    table.check()


def test_numbers_of_a_lost_journal_are_not_given_out_again():
    """After the counters are raised, the next placement and machine come behind what is in use;
    they are never lowered."""
    table = Table()
    table.turn(e.RaiseCounters(7, 12, "aws"))
    table.turn(e.RaiseCounters(3, 4, "aws"))
    table.submit()
    table.plan(Place("j", A.id, 3 * NANO))
    acquire = next(c for c in table.commands if isinstance(c, Acquire))
    assert (acquire.placement, acquire.leases) == (8, (13,))
    assert len(table.facts(e.CountersRaised)) == 1
    table.check()
