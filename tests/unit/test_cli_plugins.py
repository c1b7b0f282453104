"""Plug-ins: found by entry point, and what is said when one is missing, broken or ambiguous."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from treasury.bootstrap import make_strategy, strategy_names
from treasury.cli.providers import cli as providers
from treasury.cli.strategies import cli as strategies
from treasury.config import inspect_text
from treasury.config.settings import Config
from treasury.domain.errors import BadValue, ConfigError, NotFound, PluginError
from treasury.domain.time import HOUR
from treasury.ports import Strategy
from treasury.registry import load, load_strategy, plugins, read_settings

GROUP = "treasury.strategies"
CODE = '''
import msgspec

class TideSettings(msgspec.Struct, frozen=True):
    wait: int = 0
    share: float = 0.5

class Tide:
    """Waits for the tide. Nothing else."""
    Settings = TideSettings
    name = "tide"
    def __init__(self, settings):
        self.settings = settings
        if settings.wait > 10**15:
            raise RuntimeError("too patient")
    def propose(self, snapshot):
        return None

class Bare:
    """Needs nothing."""
    name = "bare"
    def propose(self, snapshot):
        return None

class Mute:
    """Is no strategy at all."""
'''


def install(folder: Path, name: str, **entries: str) -> None:
    """A distribution in a folder on the path, with strategies by name."""
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    lines = "".join(f"{key} = {value}\n" for key, value in entries.items())
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")


@pytest.fixture(autouse=True)
def _tides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's distribution with good and bad strategies."""
    (tmp_path / "tides_of_the_tests.py").write_text(CODE)
    install(
        tmp_path,
        "tides",
        tide="tides_of_the_tests:Tide",
        bare="tides_of_the_tests:Bare",
        mute="tides_of_the_tests:Mute",
        moon="no_such_module:Moon",
    )
    monkeypatch.syspath_prepend(tmp_path)


def config(text: str) -> Config:
    """The settings of a sound text."""
    findings = inspect_text(text, "c.toml")
    assert findings.config is not None, findings.errors
    return findings.config


def settings_of(strategy: Strategy) -> Any:
    """What the test's strategy was made with."""
    return strategy.settings  # type: ignore[attr-defined]


def test_a_strangers_strategy_is_made_of_its_table() -> None:
    """Text becomes nanoseconds where the class wants whole numbers; what is left out defaults."""
    made = make_strategy(config('[strategy.tide]\nwait = "6h"'), "tide")
    assert isinstance(made, Strategy)
    assert (settings_of(made).wait, settings_of(made).share) == (6 * HOUR, 0.5)
    assert settings_of(load_strategy("tide", {})).wait == 0


def test_a_strategy_may_be_compared_with_itself() -> None:
    """`kind` gives a table a name of its own."""
    both = config('[strategy.tide]\nwait = "1h"\n[strategy.slow]\nkind = "tide"\nwait = "9h"')
    waits = [settings_of(make_strategy(both, name)).wait for name in ("tide", "slow")]
    assert waits == [HOUR, 9 * HOUR]


def test_a_strategy_without_settings_takes_none() -> None:
    """A class that has no Settings is made of nothing, and parameters for it are a mistake."""
    assert make_strategy(config(""), "bare").name == "bare"
    with pytest.raises(ConfigError, match=r'strategy\.bare: unknown parameter "x"; there is none'):
        make_strategy(config("[strategy.bare]\nx = 1"), "bare")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("tied", 'no strategies plug-in is called "tied"; did you mean "tide"'),
        ("moon", '"moon" of tides 1.2 cannot be loaded from no_such_module:Moon: ModuleNotFound'),
        ("mute", '"mute" is no strategy: it needs "name" and "propose(snapshot)"'),
    ],
)
def test_what_cannot_be_had_is_said_with_its_origin(name: str, problem: str) -> None:
    """The nearest name, or the distribution whose plug-in is broken."""
    with pytest.raises((NotFound, PluginError)) as caught:
        load_strategy(name, {})
    assert problem in str(caught.value)


def test_a_strategy_that_refuses_to_be_made_names_its_distribution() -> None:
    """An exception in a stranger's constructor is reported as theirs."""
    with pytest.raises(PluginError, match=r"tides 1\.2 cannot be made: RuntimeError: too patient"):
        load_strategy("tide", {"wait": 10**16})


def test_two_plugins_of_one_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of two would decide about money is not left to the order of a path."""
    install(tmp_path / "other", "floods", tide="elsewhere:Tide")
    monkeypatch.syspath_prepend(tmp_path / "other")
    with pytest.raises(PluginError, match=r'called "tide".*floods 1\.2.*tides 1\.2'):
        plugins("treasury.strategies")


def test_settings_are_read_strictly() -> None:
    """Every type of parameter is checked; what is missing and what does not fit is named."""

    class Wanted(msgspec.Struct, frozen=True):
        must: int
        label: str = ""
        until: int | None = None
        flag: bool = False

        def __post_init__(self) -> None:
            if self.must < 0:
                raise ValueError("must is negative")

    full = {"must": "2h", "label": "6h", "until": "1h", "flag": True}
    assert read_settings(Wanted, full) == Wanted(2 * HOUR, "6h", HOUR, flag=True)
    assert read_settings(Wanted, {"must": 3}) == Wanted(3)
    with pytest.raises(NotFound, match='parameter "must" is missing'):
        read_settings(Wanted, {})
    with pytest.raises(NotFound, match='unknown parameter "flat"; did you mean "flag"'):
        read_settings(Wanted, {"must": 1, "flat": True})
    with pytest.raises(BadValue, match=r'"flag" 1 cannot be used: expected `bool`, got `int`'):
        read_settings(Wanted, {"must": 1, "flag": 1})
    with pytest.raises(BadValue, match="must is negative"):
        read_settings(Wanted, {"must": -1})


def test_each_strategy_runs_once_in_the_order_asked_for() -> None:
    """The command line wins over the file, the file over the default."""
    some = config('[simulation]\nstrategies = ["greedy", "tide"]')
    assert strategy_names(some, ["b", "a", "b"]) == ("b", "a")
    assert strategy_names(some) == ("greedy", "tide")
    assert strategy_names(config("")) == ("optimal",)


def test_the_list_shows_the_sound_and_the_broken() -> None:
    """One broken plug-in does not hide the others; the exit code says that one is broken."""
    result = CliRunner().invoke(strategies, ["-o", "csv"])
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert 'tide,tides 1.2,"wait=0, share=0.5",Waits for the tide' in lines
    assert "bare,tides 1.2,,Needs nothing" in lines
    assert any(line.startswith("moon,tides 1.2,,") and "cannot be loaded" in line for line in lines)


def test_providers_are_listed_with_their_numbers(tmp_path: Path) -> None:
    """A configured provider shows where it comes from and every capability with its unit."""
    file = tmp_path / "mine.toml"
    file.write_text('[provider.aws]\nnotice = "2m"\nbilling_minimum = "60s"\nquota = 7')
    result = CliRunner().invoke(providers, ["-c", str(file), "-o", "csv"])
    assert result.exit_code == 0
    assert result.output.splitlines()[1] == (
        "aws,simulated,mine.toml,False,False,2m,0s,0s,1s,1m,0s,1000,4,0,7"
    )


def test_any_group_can_be_asked() -> None:
    """Providers and runners are found in the same way; nobody has registered this one."""
    with pytest.raises(NotFound, match='no runners plug-in is called "none"'):
        load("treasury.runners", "none")
