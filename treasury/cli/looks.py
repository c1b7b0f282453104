"""`treasury queue`, `status` and `offers`: what a running daemon has to say."""

from typing import Any, Final

import click

from treasury.cli.client import Client, client_options, name
from treasury.cli.output import TABLE, emit, output_option

_JOB: Final = (
    *("id", "state", "cost_centre", "priority", "gpus", "nodes", "offer", "waits", "work"),
    *("work_done", "rate", "cost", "held", "submitted_at", "deadline", "missed", "interruptions"),
    *("failures", "moving", "approved", "value"),
)
_OFFER: Final = (
    *("id", "provider", "region", "zone", "instance", "gpu", "gpus", "tenure", "rate"),
    *("rate_per_gpu", "depth", "in_use", "age", "quarantined_until", "drained", "score"),
)


@click.command()
@click.option("--state", default="", help="Only jobs in a state, such as queued.")
@click.option("--cost-centre", default="", help="Only jobs of a cost centre.")
@client_options
@output_option
def queue(state: str, cost_centre: str, client: Client, output: str) -> None:
    """Show active jobs in queue order: where each is, or why it is not.

    JSON and CSV give micro-USD, nano-USD an hour and nanoseconds.
    """
    told = client.get("/v1/jobs", state=state, cost_centre=cost_centre)
    rows = told["jobs"]
    if output != TABLE:
        emit(_JOB, [[row[key] for key in _JOB] for row in rows], output)
        return
    now = client.get("/v1/status")["at"]
    columns = ["job", "state", "cost centre", "prio", "machines", "accelerators"]
    columns += ["where or why not", "done", "rate", "cost", "due in", "stops"]
    emit(columns, [_job_cells(row, now) for row in rows], output)


def _job_cells(row: dict[str, Any], now: int) -> list[object]:
    from treasury.domain.money import format_money, format_rate
    from treasury.domain.time import format_duration

    due = row["deadline"]
    left = None if due is None else "missed" if row["missed"] else format_duration(due - now)
    return [
        row["id"],
        row["state"] + (", moving" if row["moving"] else ""),
        row["cost_centre"],
        row["priority"],
        row["nodes"],
        row["gpus"],
        row["offer"] or row["waits"],
        f"{100 * row['work_done'] // row['work']} %",
        format_rate(row["rate"]) if row["rate"] else None,
        format_money(row["cost"]),
        left,
        row["interruptions"] + row["failures"],
    ]


@click.command()
@click.argument("job", required=False)
@client_options
@output_option
def status(job: str | None, client: Client, output: str) -> None:
    """Show how the daemon is, or JOB: where it stands, its machines and what happened to it.

    Exits with 1 when the daemon is not ready.
    """
    if job is not None:
        _show_job(client, job, output)
        return
    told = client.get("/v1/status")
    if output == TABLE:
        from treasury.domain.time import format_instant

        told["at"] = format_instant(told["at"])
    rows = list(_flat("", told))
    emit(["what", "value"], rows, output, title=client.url)
    if not told.get("ready"):
        raise click.exceptions.Exit(1)


def _flat(prefix: str, value: Any) -> Any:
    """Nested values as dotted names with plain values."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), item)
    elif not isinstance(value, list) or value:
        yield [prefix, value]


def _show_job(client: Client, job: str, output: str) -> None:
    from treasury.cli.events import turns
    from treasury.domain.money import format_money
    from treasury.domain.time import format_instant

    detail = client.get(f"/v1/jobs/{name(job)}")
    rows: list[list[object]] = []
    charges: dict[int, int] = {}
    for turn in turns(client, follow=False, after=0, job=job):
        for fact, told in turn["told"]:
            rows.append([format_instant(turn["at"]), fact["type"], told])
            if fact["type"] == "lease_metered":
                charges[fact["lease"]] = fact["charge"]
    if output != TABLE:
        emit(["at", "what", "detail"], rows, output)
        return
    over = detail["ended"]
    if over is not None:
        click.echo(f"Job {job} is {over['state']}; it cost {format_money(sum(charges.values()))}")
    else:
        now = client.get("/v1/status")["at"]
        columns = ["job", "state", "cost centre", "prio", "machines", "accelerators"]
        columns += ["where or why not", "done", "rate", "cost", "due in", "stops"]
        emit(columns, [_job_cells(detail["job"], now)], TABLE)
    if detail["machines"]:
        click.echo()
        columns = ["machine", "offer", "state", "rate", "charged", "paid until"]
        cells = [_machine_cells(row) for row in detail["machines"]]
        emit(columns, cells, TABLE, title="Machines")
    click.echo()
    emit(["at", "what", "detail"], rows, TABLE, title="What happened")


def _machine_cells(row: dict[str, Any]) -> list[object]:
    from treasury.domain.money import format_money, format_rate
    from treasury.domain.time import format_instant

    until = row["funded_until"]
    return [
        row["machine"] or f"#{row['id']}",
        row["offer"],
        row["state"],
        format_rate(row["rate"]) if row["rate"] else None,
        format_money(row["charge"]),
        None if until is None else format_instant(until),
    ]


@click.command()
@click.option("--gpu", default="", metavar="MODEL", help="Only machines with this accelerator.")
@click.option("--provider", default="", help="Only a provider's.")
@click.option("--region", default="", help="Only a region's.")
@click.option("--tenure", default="", help="spot, on_demand, reserved or owned.")
@click.option("--limit", type=click.IntRange(1), help="Only so many of the best.")
@client_options
@output_option
def offers(
    gpu: str,
    provider: str,
    region: str,
    tenure: str,
    limit: int | None,
    client: Client,
    output: str,
) -> None:
    """List what can be had now, the best value of each accelerator first.

    score: 100 for the cheapest of its accelerator, 50 for twice its price, 0 for what cannot be
    taken now. JSON and CSV give nano-USD an hour and nanoseconds.
    """
    from treasury.domain.hardware import normalise_gpu

    model = normalise_gpu(gpu) if gpu else ""
    told = client.get("/v1/offers", gpu=model, provider=provider, region=region, tenure=tenure)
    rows = told["offers"][:limit]
    if output != TABLE:
        emit(_OFFER, [[row[key] for key in _OFFER] for row in rows], output)
        return
    columns = ["provider", "region", "zone", "instance", "GPU", "tenure", "$/h", "$/GPU-h"]
    emit([*columns, "age", "score"], [_offer_cells(row) for row in rows], output)
    if len(rows) < len(told["offers"]):
        click.echo(f"{len(rows)} of {len(told['offers'])} offers", err=True)


def _offer_cells(row: dict[str, Any]) -> list[object]:
    from treasury.domain.time import format_duration

    return [
        row["provider"],
        row["region"] or None,
        row["zone"] or None,
        row["instance"] or None,
        f"{row['gpus']} x {row['gpu']}",
        row["tenure"],
        _dollars(row["rate"]),
        _dollars(row["rate_per_gpu"]),
        None if row["age"] is None else format_duration(row["age"]),
        row["score"],
    ]


def _dollars(rate: int | None) -> str | None:
    return None if rate is None else f"{rate // 10**9}.{rate // 10**5 % 10**4:04d}"
