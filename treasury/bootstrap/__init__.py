"""Wiring: from a configuration to the parts it names.

Lives here: what needs both the configuration and the registry; `live` puts a daemon together. May
not live here: decisions, and anything that only one verb needs.
"""

from collections.abc import Sequence

from treasury.config import Config
from treasury.domain.errors import BadValue, ConfigError, NotFound, PluginError
from treasury.ports import Strategy
from treasury.registry import check_provider, load_strategy

# What is compared when neither the command line nor the configuration names a strategy.
DEFAULT_STRATEGY = "optimal"


def strategy_names(config: Config, asked: Sequence[str] = ()) -> tuple[str, ...]:
    """The strategies to run, each once: those asked for, else the configuration's."""
    names = asked or config.simulation.strategies or (DEFAULT_STRATEGY,)
    return tuple(dict.fromkeys(names))


def make_strategy(config: Config, name: str) -> Strategy:
    """A new strategy under the name of its `[strategy.NAME]`, or with its defaults where there is
    no such table. Raises ConfigError, PluginError, NotFound."""
    settings = config.strategies.get(name)
    if settings is None:
        return load_strategy(name, {})
    path = f"strategy.{name}"
    try:
        return load_strategy(settings.kind, settings.parameters)
    except PluginError:
        raise
    except (BadValue, NotFound) as error:
        raise ConfigError(config.file, path, str(error)) from error


def strategy_problems(config: Config) -> tuple[ConfigError, ...]:
    """What is wrong with the strategies a configuration names, without running any of them."""
    problems: list[ConfigError] = []
    for name in dict.fromkeys((*config.strategies, *config.simulation.strategies)):
        try:
            make_strategy(config, name)
        except ConfigError as error:
            problems.append(error)
        except (NotFound, PluginError) as error:
            problems.append(ConfigError(config.file, "simulation.strategies", str(error)))
    return tuple(problems)


def market_problems(config: Config) -> tuple[ConfigError, ...]:
    """What is wrong with the tables of real markets, asking none of them anything."""
    problems: list[ConfigError] = []
    for name, market in config.markets.items():
        try:
            check_provider(market.kind, market.parameters, name, config.file)
        except ConfigError as error:
            problems.append(error)
        except (NotFound, PluginError) as error:
            problems.append(ConfigError(config.file, f"provider.{name}.kind", str(error)))
    return tuple(problems)
