"""From a configuration to a daemon: paths, refusals, doctor, markets by their own settings."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from treasury.bootstrap import market_problems
from treasury.bootstrap.live import database, state_directory, wanted_of
from treasury.bootstrap.wiring import Orders, provider_of
from treasury.cli.doctor import cli as doctor
from treasury.cli.run import cli as run
from treasury.config import inspect_text, load_config
from treasury.domain.errors import ConfigError, UserError
from treasury.runtime.clocks import system_host

LAB = """
[[budget]]
cost_centre = "lab"
amount = "10 USD"

[provider.here]
kind = "local"
slots = 2
"""


def _orders(path, **fields):
    return Orders(path=path, holder="test", draw=lambda size: b"7" * size, environment={}, **fields)


def _file(tmp_path: Path, text: str = LAB) -> Path:
    path = tmp_path / "lab.toml"
    path.write_text(text)
    return path


def test_relative_paths_begin_at_the_file(tmp_path):
    """Database and state lie beside the configuration, whoever starts the daemon from where."""
    path = _file(tmp_path)
    config, orders = load_config(path), _orders(path)
    assert database(config, orders) == str(tmp_path / "treasury.db")
    state = state_directory(config, orders)
    assert state == tmp_path / "treasury-state"
    assert state.stat().st_mode & 0o077 == 0


def test_a_rehearsal_never_shares_the_real_database(tmp_path):
    """It has a file of its own; beside a server's database it must be told which."""
    path = _file(tmp_path)
    orders = _orders(path, rehearse=True)
    assert database(load_config(path), orders) == str(tmp_path / "treasury-rehearsal.db")
    path.write_text(LAB + '[daemon]\ndb = "postgresql://me@db/treasury"\n')
    with pytest.raises(UserError, match="a rehearsal must not write"):
        database(load_config(path), orders)
    assert database(load_config(path), _orders(path, rehearse=True, db="x.db")) == "x.db"


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path):
    """A file stands where the folder should be."""
    path = _file(tmp_path, LAB + '[daemon]\nstate = "lab.toml"\n')
    with pytest.raises(UserError, match=r"daemon\.state"):
        state_directory(load_config(path), _orders(path))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("slotz = 2", 'provider.here.slotz: unknown key; did you mean "slots"?'),
        ('slots = "two"', "provider.here.slots: duration 'two' cannot be used"),
        ("slots = [1]", "provider.here.slots: [1] cannot be used: expected a whole number"),
        ("slots = 0", "provider.here: "),
        ('secret_token = "canary"', "provider.here.secret_token: unknown key"),
    ],
)
def test_a_market_s_own_keys_are_read_with_their_path(table, message):
    """What the adapter does not take is reported as the configuration's other mistakes are."""
    text = LAB.replace("slots = 2", table)
    config = inspect_text(text, "lab.toml").config
    problems = [str(problem) for problem in market_problems(config)]
    assert len(problems) == 1
    if message.startswith("provider.here.slots: duration"):
        assert "provider.here.slots" in problems[0]
    else:
        assert message in problems[0]
    assert "canary" not in problems[0]


def test_a_required_key_that_is_missing_is_named():
    """An adapter that needs to know its regions says so."""
    config = inspect_text('[provider.east]\nkind = "aws"\n', "lab.toml").config
    (problem,) = market_problems(config)
    assert str(problem) == 'lab.toml: provider.east: "regions" is missing'


def test_a_market_is_made_under_the_name_of_its_table(tmp_path):
    """Two accounts of one market are two providers."""
    text = LAB + '[provider.there]\nkind = "local"\n'
    path = _file(tmp_path, text)
    config = load_config(path)
    host = system_host(1)
    names = [provider_of(config, host, _orders(path), n, tmp_path).name for n in config.markets]
    assert names == ["here", "there"]
    assert not (tmp_path / "treasury-state").exists()


def test_budgets_and_jobs_may_name_real_markets():
    """A reference to a real provider is as good as one to a simulated."""
    text = LAB.replace('amount = "10 USD"', 'amount = "10 USD"\nproviders = ["here"]')
    assert inspect_text(text, "lab.toml").errors == ()
    wrong = text.replace('["here"]', '["hera"]')
    assert 'did you mean "here"?' in str(inspect_text(wrong, "lab.toml").errors[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[api]\nhost = "0.0.0.0"', "api.host"),
        ('[bus]\nhost = "0.0.0.0"', "bus.host"),
        ("[bus]\ntls = true", "bus.tls"),
        ('[bus]\nembedded = false\nca = "x"', "bus.ca"),
        ('[daemon]\nlease = "1s"', "daemon.lease"),
        ("[api]\nport = 70000", "api.port"),
        ('[daemon]\nlog = "xml"', "daemon.log"),
    ],
)
def test_a_daemon_that_would_be_unsafe_is_refused(text, message):
    """Open doors, half-configured encryption and impossible values are found before the start."""
    errors = inspect_text(text, "lab.toml").errors
    assert [error.path for error in errors] == [message]


def test_what_is_wanted_changes_with_the_file():
    """The same text asks for the same; another strategy or market is seen."""
    one = wanted_of(inspect_text(LAB, "lab.toml").config)
    same = wanted_of(inspect_text(LAB, "lab.toml").config)
    assert (one.strategy, one.fixed, one.budgets) == (same.strategy, same.fixed, same.budgets)
    other = wanted_of(inspect_text(LAB + '[daemon]\nstrategy = "greedy"\n', "lab.toml").config)
    assert other.strategy == "greedy" != one.strategy
    with pytest.raises(ConfigError):
        wanted_of(inspect_text(LAB.replace("slots", "slotz"), "lab.toml").config)


def test_run_refuses_what_it_cannot_run(tmp_path):
    """No file, or one without a real market: a message, not a daemon."""
    missing = CliRunner().invoke(run, [str(tmp_path / "nix.toml")])
    assert isinstance(missing.exception, UserError)
    path = _file(tmp_path, '[[budget]]\ncost_centre = "lab"\namount = "10 USD"\n')
    simulated = CliRunner().invoke(run, [str(path)])
    assert "names no real market" in str(simulated.exception)


@pytest.mark.sockets
def test_doctor_looks_and_changes_nothing(tmp_path):
    """A sound configuration: nothing bad, and not a file is made."""
    path = _file(tmp_path, LAB + "[bus]\nport = 1\n[api]\nport = 0\n")
    result = CliRunner().invoke(doctor, [str(path), "-o", "csv", "--online"])
    assert result.exit_code == 0, result.output
    rows = [line.split(",", 2) for line in result.stdout.splitlines()[1:]]
    assert {row[0] for row in rows} >= {"configuration", "database", "broker", "provider.here"}
    assert all(row[1] in ("ok", "look") for row in rows)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["lab.toml"]


@pytest.mark.sockets
def test_doctor_names_what_is_bad(tmp_path):
    """A broker that does not answer, a market that is unknown, a database that is none."""
    (tmp_path / "treasury.db").write_text("no database")
    path = _file(tmp_path, LAB + "[bus]\nembedded = false\nport = 1\n[api]\nport = 0\n")
    result = CliRunner().invoke(doctor, [str(path)])
    assert result.exit_code == 1
    assert "127.0.0.1:1 does not answer" in result.stdout
    assert "is not a database" in result.stdout
    path.write_text(LAB.replace("local", "locl"))
    result = CliRunner().invoke(doctor, [str(path)])
    assert result.exit_code == 1 and 'did you mean "local"?' in result.stdout
