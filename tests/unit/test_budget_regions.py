"""Regions that a budget allows, from the configuration to the refusal."""

from pathlib import Path

from tests.support.table import A, Table
from treasury.config import load_config
from treasury.domain import events as e
from treasury.domain.budget import Budget
from treasury.domain.commands import Acquire
from treasury.domain.money import MICRO, NANO
from treasury.domain.plan import Place, Why


def test_only_the_named_regions_are_taken() -> None:
    """A parent's regions bind its children; the refusal names the region and what is allowed."""
    for regions, allowed in ((("eu", "uk"), False), (("us",), True), ((), True)):
        budgets = (
            Budget(cost_centre="org", amount=100 * MICRO, regions=regions),
            Budget(cost_centre="team", parent="org", amount=100 * MICRO),
        )
        table = Table(0, *budgets)
        table.submit()
        table.plan(Place("j", A.id, 3 * NANO))
        assert [type(command) for command in table.commands] == [Acquire] * allowed
        if not allowed:
            refusal = table.facts(e.ActionRefused)[-1]
            assert (refusal.why, refusal.cost_centre) == (Why.NOT_ALLOWED, "org")
            assert refusal.message == "org: region us is not among eu, uk"
        table.check()


def test_regions_are_configured(tmp_path: Path) -> None:
    """The key `regions` of a budget is what the guard sees."""
    path = tmp_path / "c.toml"
    path.write_text(
        '[[budget]]\ncost_centre = "t"\namount = "1 USD"\nregions = ["us-west-2", "us-east-1"]\n'
    )
    assert load_config(path).budgets[0].regions == ("us-west-2", "us-east-1")
