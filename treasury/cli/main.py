"""The root of the command line: lazy verbs, one place for errors and exit codes.

0 fine; 1 the thing asked about is bad; 2 usage or a mistake a person can mend; 70 a mistake of
ours; 130 interrupted; 141 whoever read our output has left.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NoReturn, cast

import click

from treasury import __version__
from treasury.domain.errors import UserError, did_you_mean

MENDABLE: Final = 2
OUR_MISTAKE: Final = 70
INTERRUPTED: Final = 130
READER_LEFT: Final = 141

# Verb -> module that holds its command, as `cli` unless named, and its line in `--help`. The module
# is imported when the verb is called: help must not wait for what only one verb needs.
VERBS: Final = {
    "run": ("treasury.cli.run", "Run jobs on real markets: the daemon."),
    "doctor": ("treasury.cli.doctor", "Whether a daemon would work here, and what is wrong."),
    "demo": ("treasury.cli.demo", "Watch a daemon at work on this machine, and prove it."),
    "simulate": ("treasury.cli.simulate", "Replay a recorded market with one or more strategies."),
    "sweep": ("treasury.cli.sweep", "Replay a grid of strategies, parameters, markets and seeds."),
    "storm": ("treasury.cli.storm", "Throw the daemon into every misfortune, from a seed."),
    "report": ("treasury.cli.report", "Write a page about the results of a sweep."),
    "explain": ("treasury.cli.explain", "Why a job waited or ran where it did, and what it cost."),
    "plan": ("treasury.cli.plan", "What a strategy would do now, at what price, why, and what if."),
    "submit": ("treasury.cli.submit", "Hand jobs to a running daemon."),
    "queue": ("treasury.cli.looks:queue", "Active jobs in queue order: where, or why not."),
    "status": ("treasury.cli.looks:status", "How the daemon is, or one job."),
    "logs": ("treasury.cli.events:logs", "What a job wrote."),
    "events": ("treasury.cli.events:events", "What happened, from the journal."),
    "offers": ("treasury.cli.looks:offers", "What machines can be had, at which price."),
    "cancel": ("treasury.cli.orders:cancel", "End jobs wherever they stand."),
    "preempt": ("treasury.cli.orders:preempt", "Stop jobs at a checkpoint and queue them again."),
    "migrate": ("treasury.cli.orders:migrate", "Move a job to another offer."),
    "drain": ("treasury.cli.orders:drain", "Leave a provider."),
    "conduct": ("treasury.cli.orders:conduct", "Carry plans out, write them down, or make none."),
    "panic": ("treasury.cli.orders:panic", "Take no more machines, now."),
    "reload": ("treasury.cli.orders:reload", "Have the daemon read its configuration again."),
    "validate": ("treasury.cli.validate", "Check a configuration file."),
    "traces": ("treasury.cli.traces", "Import, describe and fetch traces."),
    "ledger": ("treasury.cli.ledger", "Balances, journal and proof of a database."),
    "budget": ("treasury.cli.budget", "Where budgets stand, what they refused, changes to them."),
    "approve": ("treasury.cli.approve", "Say yes to a job that waits for a person."),
    "bill": ("treasury.cli.bill", "Hold a provider's bill against the books."),
    "check": ("treasury.cli.check", "Whether markets would let us do what will be needed."),
    "quotes": ("treasury.cli.quotes", "Ask the markets themselves what they sell, at which price."),
    "providers": ("treasury.cli.providers", "List providers and what they can do."),
    "strategies": ("treasury.cli.strategies", "List strategies and their parameters."),
    "node": ("treasury.cli.node", "The agent that runs on leased machines."),
    "bus": ("treasury.cli.bus", "Files for the broker, and the messages' schemas."),
}


class ReaderLeftError(Exception):
    """Whoever read our output has closed it. A name of our own: click exits with 1 for the
    system's error."""


class LazyGroup(click.Group):
    """A group whose verbs are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order in which a newcomer meets them."""
        return [*VERBS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A verb's command, importing its module."""
        if cmd_name not in VERBS:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = VERBS[cmd_name][0].partition(":")
        return cast(click.Command, getattr(import_module(module), attribute or "cli"))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The same with the nearest verb in the message about an unknown one."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            ctx.fail(f"no verb is called {args[0]!r}; {did_you_mean(args[0], known)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderLeftError from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs with their lines from the table above."""
        del ctx
        lines = {verb: line for verb, (_, line) in VERBS.items()}
        lines |= {verb: command.get_short_help_str() for verb, command in self.commands.items()}
        with formatter.section("Verbs"):
            formatter.write_dl(list(lines.items()))


@click.group(
    cls=LazyGroup,
    subcommand_metavar="VERB [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--debug", is_flag=True, help="Show where in the code an error was found.")
@click.version_option(__version__, prog_name="treasury", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Bid for, place, migrate and account for spot GPU capacity.

    `treasury simulate` replays a real market that comes with it and needs no account.
    """
    ctx.ensure_object(dict)["debug"] = debug


@cli.command()
def version() -> None:
    """Print the version of treasury and of Python."""
    python = ".".join(map(str, sys.version_info[:3]))
    click.echo(f"treasury {__version__} (Python {python}, {sys.platform})")


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line (default: the process's own) and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character gets its escape instead of an exception.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    state: dict[str, Any] = {"debug": False}
    code = _run(arguments, state)
    try:
        sys.stdout.flush()
    except OSError:
        # The disk is full or the reader gone, and the interpreter would try again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or MENDABLE
    sys.exit(code)


def _run(arguments: Sequence[str] | None, state: dict[str, Any]) -> int:
    try:
        code = cli.main(arguments, prog_name="treasury", standalone_mode=False, obj=state)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return MENDABLE
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        if context is not None:
            click.echo(f"{context.get_usage()}\n", err=True)
        _complain(error.format_message())
        return MENDABLE
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted")
        return INTERRUPTED
    except ReaderLeftError:
        return READER_LEFT
    except (UserError, OSError) as error:
        if state["debug"]:
            _show_traceback()
        _complain(_message(error))
        return MENDABLE
    except Exception as error:  # noqa: BLE001 - the last resort: a code that says whose mistake
        _show_traceback()
        _complain(f"a mistake of treasury's own, please report it: {error!r}")
        return OUR_MISTAKE
    return code if isinstance(code, int) else 0


def _message(error: UserError | OSError) -> str:
    """The system's errors name the file first, as ours do."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _complain(message: str) -> None:
    from treasury.cli.output import style

    click.echo(style(f"error: {message}", sys.stderr, fg="red"), err=True)


def _show_traceback() -> None:
    import traceback

    traceback.print_exc()
