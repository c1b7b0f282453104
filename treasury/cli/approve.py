"""`treasury approve JOB`: say yes to a job that waits for a person."""

from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from treasury.cli.desk import WRITES, at_option, db_option, order, who

if TYPE_CHECKING:
    from treasury.cli.client import Client
    from treasury.cli.desk import Desk


@click.command()
@click.argument("job")
@db_option(WRITES)
@at_option
@click.option("--by", default=None, help="Who decided.  [default: the user]")
def cli(job: str, db: str, at_text: str | None, by: str | None) -> None:
    """Say yes to JOB, which a budget's `approve_above` makes wait for a person.

    It is planned again at once, whatever it is expected to cost; every limit still holds.
    """
    from treasury.domain.errors import NotFound, did_you_mean
    from treasury.domain.events import ApproveJob
    from treasury.domain.ids import JobId

    def by_hand(hand: "Desk") -> bool:
        name = JobId(job)
        record = hand.book.jobs.get(name)
        if record is None:
            ended = hand.book.ended.get(name)
            why = f"it is {ended}" if ended else did_you_mean(job, map(str, hand.book.jobs))
            raise NotFound(f"{hand.store.name} has no active job {job!r}; {why}")
        if record.approved:
            return False
        hand.step(ApproveJob(name, by or who()))
        return True

    def by_daemon(client: "Client") -> bool:
        known = client.get(f"/v1/jobs/{quote(job, safe='')}")["job"]
        if known is not None and known["approved"]:
            return False
        client.post(f"/v1/jobs/{quote(job, safe='')}/approve", {"by": by or who()})
        return True

    made = order(db, at_text, by_hand, by_daemon)
    click.echo(f"{job}: approved" if made else f"{job}: was approved already")
