"""The root of the command line: exit codes, messages, and what a pipe or Ctrl-C does to it."""

import io
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from treasury import __version__
from treasury.cli.main import READER_LEFT, VERBS, cli, run
from treasury.cli.output import style
from treasury.domain.errors import InvariantBroken, UserError


def call(*arguments: str) -> int:
    """The exit code of a command line run in this process."""
    with pytest.raises(SystemExit) as leaving:
        run(arguments)
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A verb `try` whose function a test may choose: `verb.act`."""
    module = ModuleType("a_verb_of_the_tests")

    @click.command()
    def command() -> None:
        module.act()

    module.cli = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(VERBS, "try", (module.__name__, "Try something."))
    return module


def test_help_lists_every_verb_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` shows all verbs from the table, without their modules."""
    assert call("--help") == 0
    out = capsys.readouterr().out
    assert all(name in out and line in out for name, (_, line) in VERBS.items())


def test_help_loads_nothing_heavy() -> None:
    """A process that prints the help has loaded click and no library that only a verb needs."""
    script = (
        "import sys; from treasury.cli.main import run\n"
        "try: run(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'msgspec', 'numpy', 'pandas', 'ortools', 'sqlalchemy', 'bokeh', 'structlog'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("name", [name for name in VERBS if name != "simulate"])
def test_every_verb_of_the_table_is_there(name: str) -> None:
    """Each entry names a module that holds a command, which has a help of its own."""
    command = cli.get_command(click.Context(cli), name)
    assert isinstance(command, click.Command)
    assert command.help


def test_the_version_is_told_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """As an option for scripts, as a verb with the interpreter for reports of mistakes."""
    assert call("--version") == 0
    assert capsys.readouterr().out == f"treasury {__version__}\n"
    assert call("version") == 0
    assert capsys.readouterr().out.startswith(f"treasury {__version__} (Python 3.")


def test_a_misspelt_verb_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """Usage errors leave with 2 and name what would be right."""
    assert call("simulat") == 2
    err = capsys.readouterr().err
    assert "error: no verb is called 'simulat'; did you mean \"simulate\"?" in err


def test_a_wrong_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """An option value that cannot be shows how the verb is used."""
    assert call("validate", "-o", "yaml") == 2
    err = capsys.readouterr().err
    assert "Usage: treasury validate" in err
    assert "'yaml' is not one of" in err


def test_no_verb_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The bare command says what there is, as a usage error for scripts."""
    assert call() == 2
    assert "simulate" in capsys.readouterr().err


def test_a_users_mistake_is_one_line(
    verb: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A UserError is a message and exit code 2; only --debug shows where it came from."""

    def fail() -> None:
        raise UserError("the tank is empty")

    monkeypatch.setattr(verb, "act", fail, raising=False)
    assert call("try") == 2
    assert capsys.readouterr() == ("", "error: the tank is empty\n")
    assert call("--debug", "try") == 2
    assert "Traceback" in capsys.readouterr().err


def test_the_systems_errors_name_the_file(
    verb: ModuleType,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A folder where a file belongs, a full disk: what the system says, without its number."""
    monkeypatch.setattr(verb, "act", lambda: tmp_path.write_text(""), raising=False)
    assert call("try") == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: Is a directory\n"


def test_our_own_mistake_is_said_to_be_ours(
    verb: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken invariant is not blamed on the user: traceback, request to report, exit code 70."""

    def fail() -> None:
        raise InvariantBroken("two and two is five")

    monkeypatch.setattr(verb, "act", fail, raising=False)
    assert call("try") == 70
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "a mistake of treasury's own, please report it" in err


def test_an_answer_of_no_is_1(verb: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verb that finds the thing asked about bad leaves with 1."""
    monkeypatch.setattr(verb, "act", lambda: click.get_current_context().exit(1), raising=False)
    assert call("try") == 1


def test_ctrl_c_is_130_without_a_traceback() -> None:
    """An interrupt is what the shell expects of it, and one line."""
    # In a process of its own, as a terminal would start it: whoever runs the tests may have
    # SIGINT ignored or handled.
    script = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from treasury.cli.main import cli, run\n"
        "@cli.command('wait')\n"
        "def wait():\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "run(['wait'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr.strip()) == (130, "error: interrupted")


def test_a_reader_that_leaves_gets_no_traceback() -> None:
    """`treasury ... | head` ends quietly when head has seen enough."""
    script = (
        "import click, sys; from treasury.cli.main import cli, run\n"
        "@cli.command('flood')\n"
        "def flood():\n"
        "    while True: click.echo('x' * 1000)\n"
        "run(['flood'])"
    )
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    os.read(reading, 10)
    os.close(reading)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (READER_LEFT, "")


class Terminal(io.StringIO):
    """Text that is shown on a screen."""

    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream is coloured when it is a terminal and NO_COLOR is unset."""
    monkeypatch.setenv("TERM", "xterm")
    assert style("x", io.StringIO(), fg="red") == "x"
    assert style("x", Terminal(), fg="red") == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert style("x", Terminal(), fg="red") == "x"
