"""Leaves of a job file beyond those of a configuration: each takes what the file holds and raises
BadValue, with what to write, for anything it cannot use."""

import re
import shlex
from decimal import Decimal
from typing import Annotated, Any, Final, NamedTuple

from treasury.config.units import Leaf, is_number, plain, read_count, read_factor, read_gpu
from treasury.domain.errors import BadValue, did_you_mean
from treasury.domain.job import REFERENCE_THROUGHPUT
from treasury.domain.market import Tenure
from treasury.domain.task import GRACE_MAX
from treasury.domain.time import format_duration, parse_duration

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_MEMORY: Final = re.compile(r"([0-9]{1,4})\s*(?:GB|GiB)\+?", re.ASCII)
_DESTINATION: Final = re.compile(r"(file|s3|gs|az)://[^\s\x00-\x1f]{1,900}", re.ASCII)
# What the node agent sets itself.
_RESERVED: Final = "TREASURY_"
# A list of arguments and an environment go through one message and one exec.
_TEXT_MAX: Final = 64 * 1024
_LINE_MAX: Final = 1_024
_ENTRIES_MAX: Final = 256
# Accelerators of one machine; the largest that is sold has 16.
_GPUS_MAX: Final = 1_024
SPOT: Final = {"spot": (Tenure.SPOT,), "on-demand": (Tenure.ON_DEMAND,), "auto": ()}


class Wish(NamedTuple):
    """Acceptable accelerators: model to speed in thousandths; how many a machine needs; memory of
    each [GiB], 0 for any."""

    throughput: dict[str, int]
    gpus: int
    memory: int = 0


def read_job_name(value: Any) -> str:
    """A name that is safe in paths, addresses and tables."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        right = "1 to 63 letters, digits or any of _ . - (a letter or digit first)"
        raise BadValue("name", plain(value), right)
    return value


def read_line(value: Any) -> str:
    """One line of printable text."""
    if not isinstance(value, str) or len(value) > _LINE_MAX or not value.isprintable():
        right = f"one line of text, at most {_LINE_MAX} characters"
        raise BadValue("text", plain(value), right)
    return value


def read_lines(value: Any) -> tuple[str, ...]:
    """A list of lines; one alone may stand without the list."""
    items = value if isinstance(value, list) else [value]
    if len(items) > _ENTRIES_MAX:
        raise BadValue("list", plain(value), f"at most {_ENTRIES_MAX} entries")
    return tuple(dict.fromkeys(read_line(item) for item in items))


def read_wish(value: Any) -> Wish:
    """Accelerators: "H100:8", a list of such, a table of model to count, or a table with `name`,
    `count` and `memory`."""
    if isinstance(value, str):
        return _join([_read_one(value)], value)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return _join([_read_one(item) for item in value], value)
    if isinstance(value, dict) and value:
        if "name" in value:
            return _read_object(value)
        pairs = [(read_gpu(model), _read_gpus(count)) for model, count in value.items()]
        return _join([(model, count, REFERENCE_THROUGHPUT) for model, count in pairs], value)
    right = 'a model and how many of them a machine has, such as "H100:8"'
    raise BadValue("gpu", plain(value), right)


def read_alternatives(value: Any) -> Wish:
    """`any_of`: models with their speeds beside the reference's."""
    right = 'a list such as [{ gpu = "H100:8" }, { gpu = "A100-80GB:8", speed = 0.45 }]'
    if not isinstance(value, list) or not value:
        raise BadValue("any_of", plain(value), right)
    found = []
    for item in value:
        if isinstance(item, str):
            found.append(_read_one(item))
            continue
        if not isinstance(item, dict):
            raise BadValue("any_of", plain(item), right)
        for key in item:
            if key not in _ALTERNATIVE:
                hint = f"gpu and speed only, for the rest holds for all; {_near(key)}"
                raise BadValue("key of any_of", key[:60], hint)
        given = [item[key] for key in ("gpu", "accelerators") if key in item]
        if len(given) != 1 or not isinstance(given[0], str):
            raise BadValue("any_of", plain(item), right)
        model, count, _ = _read_one(given[0])
        found.append((model, count, read_factor(item.get("speed", 1))))
    return _join(found, value)


_ALTERNATIVE: Final = ("gpu", "accelerators", "speed")


def _near(key: str) -> str:
    return did_you_mean(key, _ALTERNATIVE)


def _read_one(text: str) -> tuple[str, int, int]:
    """A model, its count and the reference's speed."""
    model, colon, count = text.partition(":")
    return read_gpu(model), _read_gpus(count) if colon else 1, REFERENCE_THROUGHPUT


def _read_gpus(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,4}", value, re.ASCII):
        value = int(value)
    if type(value) is not int or not 1 <= value <= _GPUS_MAX:
        raise BadValue("count", plain(value), 'whole accelerators of a machine, such as "H100:8"')
    return value


def _read_object(value: dict[str, Any]) -> Wish:
    """The form of dstack."""
    for key in value:
        if key not in {"name", "count", "memory"}:
            near = did_you_mean(key, ("name", "count", "memory"))
            raise BadValue("key of gpu", key[:60], f"name, count or memory; {near}")
    names = value["name"] if isinstance(value["name"], list) else [value["name"]]
    count = _read_gpus(value.get("count", 1))
    memory = read_memory(value["memory"]) if "memory" in value else 0
    wish = _join([(read_gpu(name), count, REFERENCE_THROUGHPUT) for name in names], value)
    return wish._replace(memory=memory)


def _join(found: list[tuple[str, int, int]], value: Any) -> Wish:
    counts = {count for _, count, _ in found}
    if len(counts) != 1:
        right = "the same number of accelerators in each alternative"
        raise BadValue("gpu", plain(value), right)
    speeds: dict[str, int] = {}
    for model, _, speed in found:
        if model in speeds:
            raise BadValue("gpu", model, "each model once")
        speeds[model] = speed
    return Wish(dict(sorted(speeds.items())), counts.pop())


def read_memory(value: Any) -> int:
    """GiB of one accelerator from text such as "80GB"."""
    match = _MEMORY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        shown = f"{plain(value)}GB" if is_number(value) else "80GB"
        right = f'the memory of one accelerator with its unit, such as "{shown}"'
        raise BadValue("memory", plain(value), right)
    return int(match[1])


def read_spot(value: Any) -> tuple[Tenure, ...]:
    """Tenures from true, false, or a policy in a word."""
    if isinstance(value, bool):
        return SPOT["spot"] if value else SPOT["on-demand"]
    word = value.replace("_", "-") if isinstance(value, str) else ""
    if word not in SPOT:
        raise BadValue("spot", plain(value), 'true, false, "spot", "on-demand" or "auto"')
    return SPOT[word]


def read_tenures(value: Any) -> tuple[Tenure, ...]:
    """Tenures by name; one alone may stand without a list."""
    known = {tenure.value: tenure for tenure in Tenure}
    items = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str) or item not in known:
            raise BadValue("tenure", plain(item), f"one of {', '.join(known)}")
    return tuple(dict.fromkeys(known[item] for item in items))


def read_command(value: Any) -> tuple[str, ...]:
    """A program with its arguments: a list, or one line that is split as a shell would split it,
    but never given to one."""
    if isinstance(value, str):
        if "\n" in value.strip():
            right = "one line, or a list; a script of several lines is what `run` is for"
            raise BadValue("command", plain(value), right)
        return _checked(_split(value), value)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return _checked(tuple(value), value)
    right = 'a program with its arguments, such as ["python", "train.py"]'
    raise BadValue("command", plain(value), right)


def read_run(value: Any) -> tuple[str, ...]:
    """The same; text with a line break, as `run: |` makes it, is a script for bash."""
    if isinstance(value, str) and "\n" in value:
        return _checked(("bash", "-c", value), value)
    return read_command(value)


def _split(text: str) -> tuple[str, ...]:
    if any(mark in text for mark in "$`"):
        raise BadValue("command", plain(text), f"{_NO_SHELL} ($ and ` mean nothing without one)")
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split, lexer.commenters = True, ""
        words = tuple(lexer)
        plain_words = tuple(shlex.split(text))
    except ValueError as error:
        raise BadValue("command", plain(text), f"quotes that close ({error})") from None
    if words != plain_words or any(word and set(word) <= set("|&;<>()") for word in words):
        raise BadValue("command", plain(text), f"{_NO_SHELL} (| & ; < > ( ) mean nothing)")
    return plain_words


_NO_SHELL: Final = "a program with its arguments: no shell reads it; write a script below `run: |`"


def _checked(words: tuple[str, ...], value: Any) -> tuple[str, ...]:
    if not words or not words[0] or any("\0" in word for word in words):
        raise BadValue("command", plain(value), "a program first, and no NUL in it")
    if len(words) > _ENTRIES_MAX or sum(map(len, words)) > _TEXT_MAX:
        right = f"at most {_ENTRIES_MAX} arguments and {_TEXT_MAX // 1024} KiB in all"
        raise BadValue("command", plain(value), right)
    return words


def read_env(value: Any) -> dict[str, str]:
    """Environment variables; numbers are taken as they are written."""
    if not isinstance(value, dict) or len(value) > _ENTRIES_MAX:
        raise BadValue("env", plain(value), f"a table of at most {_ENTRIES_MAX} variables")
    found = {}
    for name, item in value.items():
        text = str(item) if type(item) in {int, Decimal} else item
        if not isinstance(text, str) or "\0" in text:
            right = f'text in quotes for {name[:60]}, such as "1"'
            raise BadValue("value", _hidden(name, item), right)
        found[_variable(name)] = text
    if sum(len(name) + len(text) for name, text in found.items()) > _TEXT_MAX:
        raise BadValue("env", f"of {len(found)} variables", f"at most {_TEXT_MAX // 1024} KiB")
    return found


def read_secrets(value: Any) -> tuple[str, ...]:
    """Names of variables alone: a value has no place in a job file, and is never shown."""
    if isinstance(value, dict) and all(item is None for item in value.values()):
        value = list(value)
    if not isinstance(value, list) or len(value) > _ENTRIES_MAX:
        right = 'a list of names, such as ["HF_TOKEN"]; their values stay on the control node'
        raise BadValue("secrets", "(not shown)", right)
    return tuple(dict.fromkeys(_variable(name, shown=False) for name in value))


def _variable(name: Any, *, shown: bool = True) -> str:
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        what = plain(name) if shown else "(not shown)"
        raise BadValue("variable", what, "letters, digits and _, such as EPOCHS")
    if name.startswith(_RESERVED):
        raise BadValue("variable", name, f"a name that does not begin with {_RESERVED}")
    return name


def _hidden(name: str, value: Any) -> Any:
    """A variable's value in a message, unless its name sounds secret."""
    return (
        "(not shown)" if re.search("TOKEN|SECRET|PASS|KEY", name, re.IGNORECASE) else plain(value)
    )


def read_labels(value: Any) -> dict[str, str]:
    """Labels: short names to one line of text."""
    if not isinstance(value, dict) or len(value) > _ENTRIES_MAX:
        raise BadValue("labels", plain(value), f"a table of at most {_ENTRIES_MAX} labels")
    return {read_job_name(name): read_line(text) for name, text in value.items()}


def read_destination(value: Any) -> str:
    """Where checkpoints are kept."""
    if not isinstance(value, str) or not _DESTINATION.fullmatch(value):
        right = "an address that begins with file://, s3://, gs:// or az://"
        raise BadValue("checkpoint.to", plain(value), right)
    return value


def read_grace(value: Any) -> int:
    """Nanoseconds from the signal to stop until the program is killed."""
    grace = parse_duration(value) if isinstance(value, str) else -1
    if not 0 <= grace <= GRACE_MAX:
        right = f'a duration of at most {format_duration(GRACE_MAX)}, such as "30s"'
        raise BadValue("grace", plain(value), right)
    return grace


def read_retry(value: Any) -> int:
    """How often a program that failed is queued again."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1_000:
        return read_count(value)
    right = (
        "how often a program that failed is started again, 0 to 1000 (interruptions, and markets"
        " that are sold out, are always tried again)"
    )
    raise BadValue("retry", plain(value), right)


JobName = Annotated[str, Leaf(read_job_name)]
Line = Annotated[str, Leaf(read_line)]
Lines = Annotated[tuple[str, ...], Leaf(read_lines)]
Gpus = Annotated[Wish, Leaf(read_wish)]
Alternatives = Annotated[Wish, Leaf(read_alternatives)]
Memory = Annotated[int, Leaf(read_memory)]
Spot = Annotated[tuple[Tenure, ...], Leaf(read_spot)]
Tenures = Annotated[tuple[Tenure, ...], Leaf(read_tenures)]
Command = Annotated[tuple[str, ...], Leaf(read_command)]
Run = Annotated[tuple[str, ...], Leaf(read_run)]
Env = Annotated[dict[str, str], Leaf(read_env)]
Secrets = Annotated[tuple[str, ...], Leaf(read_secrets)]
Labels = Annotated[dict[str, str], Leaf(read_labels)]
Destination = Annotated[str, Leaf(read_destination)]
Grace = Annotated[int, Leaf(read_grace)]
Retry = Annotated[int, Leaf(read_retry)]
