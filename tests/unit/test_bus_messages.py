"""Codecs of the bus: what is written is read back, and nothing else is."""

import dataclasses
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasury.bus import fields as f
from treasury.bus.fields import SIZE_MAX, MessageError, decode, encode, plain
from treasury.bus.messages import (
    PUBLISHED,
    Ack,
    NodeConfig,
    Order,
    Report,
    Secrets,
    TaskOrder,
    Work,
)
from treasury.bus.schemas import schemas
from treasury.bus.topics import CHANNELS, Topics

KINDS = [*PUBLISHED.values(), NodeConfig]


def values(kind: Any) -> st.SearchStrategy[Any]:
    """What a field of a kind may hold."""
    if isinstance(kind, f.Int):
        return st.integers(kind.least, kind.most)
    if isinstance(kind, f.Flag):
        return st.booleans()
    if isinstance(kind, f.Text):
        if kind.pattern:
            return st.from_regex(
                kind.pattern, fullmatch=True, alphabet=st.characters(codec="ascii")
            ).filter(lambda text: len(text) <= kind.most)
        letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
        return st.text(letters, max_size=min(kind.most, 20))
    if isinstance(kind, f.Maybe):
        return st.none() | values(kind.kind)
    if isinstance(kind, f.ListOf):
        return st.lists(values(kind.kind), max_size=3).map(tuple)
    if isinstance(kind, f.MapOf):
        return st.dictionaries(values(kind.name), values(kind.kind), max_size=3)
    if isinstance(kind, f.Part):
        return messages(kind.of)
    return st.none() | st.integers() | st.text(max_size=5)


def messages(of: type) -> st.SearchStrategy[Any]:
    """Every message of a class."""
    parts = {item.name: values(item.metadata["kind"]) for item in dataclasses.fields(of)}
    return st.builds(of, **parts)


@given(st.sampled_from(KINDS).flatmap(messages))
def test_what_is_written_is_read_back(message: Any) -> None:
    """Decoding gives the very message, and its JSON is what its schema says."""
    payload = encode(message)
    assert decode(type(message), payload) == message
    described = {of: schemas()[topic] for topic, of in PUBLISHED.items()}
    described[NodeConfig] = schemas()["config"]
    jsonschema.validate(json.loads(payload), described[type(message)])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=8) | st.sampled_from(["lease", "work"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@given(st.sampled_from(KINDS), st.binary(max_size=200) | JSON.map(lambda v: json.dumps(v).encode()))
def test_anything_else_is_refused_with_one_error(of: type, payload: bytes) -> None:
    """Bytes and JSON of any kind raise MessageError or are a message that can be written again."""
    try:
        message = decode(of, payload)
    except MessageError:
        return
    assert decode(of, encode(message)) == message


@given(messages(Report), st.data())
def test_one_wrong_field_is_named(report: Report, data: st.DataObject) -> None:
    """A value of another type in any field is refused, and the message names the field."""
    value = plain(report)
    name = data.draw(st.sampled_from(sorted(value)))
    value[name] = {"no": "such type"}
    with pytest.raises(MessageError, match=rf"message\.{name}: expected"):
        decode(Report, json.dumps(value).encode())


ACK = '{"boot": "aa", "seq": %s}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ACK % "NaN", "NaN"),
        (ACK % "-Infinity", "Infinity"),
        (ACK % "1.0", "an integer"),
        (ACK % "true", "an integer"),
        (ACK % "null", "an integer"),
        (ACK % "-1", "0 to"),
        (ACK % "9223372036854775808", "0 to"),
        (ACK % ("9" * 5_000), "JSON"),
        ('{"boot": "aa", "seq": 1, "more": 2}', "unknown field 'more'"),
        ('{"boot": "aa"}', "seq is missing"),
        ('{"boot": "aa", "seq": 1, "seq": 2}', "twice"),
        ('{"boot": "AA", "seq": 1}', "expected \\[0-9a-f\\]"),
        ("[1]", "expected an object"),
        ("", "JSON"),
        ("[" * 30_000, "JSON"),
    ],
)
def test_traps_of_json_are_refused(text: str, said: str) -> None:
    """NaN, floats, booleans as numbers, huge numbers, duplicates, strangers and bombs."""
    with pytest.raises(MessageError, match=said):
        decode(Ack, text.encode())


def test_text_that_no_process_can_be_given_is_refused() -> None:
    """NUL and half a surrogate pair are caught before they reach exec or a file."""
    for word in ("a\0b", "\ud800"):
        with pytest.raises(MessageError, match=r"task\.command\[0\]: expected text without"):
            f.build(Work, {"placement": 1, "job": "j", "task": {"command": [word]}})


def test_sizes_are_bounded_both_ways() -> None:
    """What is larger than a broker takes is neither written nor read."""
    big = Secrets(1, {f"V{n}": "x" * 30_000 for n in range(3)})
    with pytest.raises(MessageError, match=f"at most {SIZE_MAX}"):
        encode(big)
    with pytest.raises(MessageError, match=f"at most {SIZE_MAX}"):
        decode(Ack, b" " * SIZE_MAX + b"{}")
    with pytest.raises(MessageError, match="at most 256"):
        encode(Work(1, "j" * 257, TaskOrder(("a",))))


def test_a_message_that_could_not_be_read_is_not_written() -> None:
    """Encoding checks as decoding does: a mistake of ours is found where it is made."""
    with pytest.raises(MessageError, match=r"message\.fuse_ns"):
        encode(Order(1, 1, 1, fuse_ns=-1))


@given(st.integers(0, 10**18 - 1), st.sampled_from(CHANNELS))
def test_topics_are_read_as_they_are_written(lease: int, channel: str) -> None:
    """A machine's topic names its lease and channel; another installation's is nobody's."""
    topics = Topics("prod")
    assert topics.parse(topics.node(lease, channel)) == (lease, channel)
    assert Topics("prod2").parse(topics.node(lease, channel)) is None


@given(st.text(max_size=40))
def test_no_topic_of_others_is_taken_for_a_machine(rest: str) -> None:
    """Only digits of ASCII and a known channel make a machine's topic."""
    topics = Topics("prod")
    place = topics.parse(f"{topics.root}/node/{rest}")
    if place is not None:
        lease, _, channel = rest.partition("/")
        assert place == (int(lease), channel) and lease.isascii() and channel in CHANNELS


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a#", "$SYS", "ä", "a b", "x" * 65])
def test_names_that_mean_something_to_a_broker_are_refused(name: str) -> None:
    """An installation or provider is one plain level of a topic."""
    with pytest.raises(MessageError):
        Topics(name)
    with pytest.raises(MessageError):
        Topics("ok").prices(name)
