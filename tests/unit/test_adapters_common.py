"""What adapters share: tags, models, prices, error texts, missing SDKs."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasury.domain.commands import Acquire
from treasury.domain.errors import InvariantBroken, NoCapacity, PluginError
from treasury.domain.hardware import accelerator, known_gpus
from treasury.domain.money import NANO, rate_from_decimal
from treasury.domain.time import SECOND
from treasury_providers.common.errors import Meaning, tidy
from treasury_providers.common.gpus import Normaliser
from treasury_providers.common.rates import rate_from_text, text_from_rate
from treasury_providers.common.sdk import load_sdk, need_sdk
from treasury_providers.common.tags import (
    OWNER,
    owner_value,
    read_leases,
    read_tags,
    request_tags,
    tag_value,
    write_leases,
)

VALUE = re.compile(r"[a-z0-9-]{1,63}")


def request(leases: tuple[int, ...] = (17, 18, 20)) -> Acquire:
    """A request for as many machines."""
    offer = "aws/us-east-1/use1-az6/p4d.24xlarge/spot"
    return Acquire("aws", offer, 5, leases, NANO, "0f" * 16)


@given(st.text(max_size=200))
def test_every_tag_keeps_to_the_narrowest_rule(text: str) -> None:
    """Whatever is put into a tag, it is a label that every market takes."""
    assert VALUE.fullmatch(tag_value(text))


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_texts_stay_different_tags(one: str, other: str) -> None:
    """Two installations never share an owner tag unless they have the same name."""
    assert (tag_value(one) == tag_value(other)) == (one == other)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20, unique=True))
def test_leases_survive_their_tag(leases: list[int]) -> None:
    """Lease numbers come back from a tag in the order in which they went in."""
    assert read_leases(write_leases(leases)) == tuple(leases)


@given(st.text(max_size=80))
def test_a_damaged_lease_tag_is_no_lease(text: str) -> None:
    """Any text reads as numbers that write the same text, or as none: never as something else."""
    leases = read_leases(text)
    assert not leases or len(leases) <= 100_000 * text.count("x") + 100_000
    assert read_leases("1-999999999") == ()


def test_a_request_is_read_back_from_its_tags() -> None:
    """Lease, placement and token come back; another owner's machine is nobody's."""
    tags = request_tags("House One", request())
    assert all(VALUE.fullmatch(value) for value in tags.values())
    marked = read_tags("House One", tags)
    assert marked is not None
    assert (marked.leases, marked.placement, marked.token) == ((17, 18, 20), 5, "0f" * 16)
    assert read_tags("House Two", tags) is None
    assert owner_value("house-one") == "house-one"
    for tag in ("treasury-lease", "treasury-placement", "treasury-token"):
        assert read_tags("House One", {**tags, tag: ""}) is None
    assert read_tags("House One", {OWNER: tags[OWNER]}) is None


@given(st.integers(0, 10**15))
def test_prices_keep_every_digit(rate: int) -> None:
    """A rate written as decimal text reads as the same rate."""
    assert rate_from_text(text_from_rate(rate)) == rate


@given(st.decimals(0, 10**6, places=12))
def test_the_fast_way_reads_prices_as_the_exact_one_does(price: object) -> None:
    """Plain decimals are rounded half up at the ninth place, as Decimal does it."""
    text = f"{price:f}"
    assert rate_from_text(text) == rate_from_decimal(text)


@pytest.mark.parametrize("text", ["", "NaN", "-1", "Infinity", "1e99", "free", "1.2.3", "12_000"])
def test_what_cannot_be_a_price_is_none(text: str) -> None:
    """Text that is no price is not turned into one."""
    assert rate_from_text(text) in (None, 12_000 * NANO)
    assert text == "12_000" or rate_from_text(text) is None


def test_a_maximum_price_is_never_rounded_up() -> None:
    """What is sent as a limit is at most the limit."""
    assert text_from_rate(1_234_567_899, 4) == "1.2345"
    assert text_from_rate(5 * NANO, 0) == "5"


def test_models_are_known_by_pattern_and_memory() -> None:
    """The first pattern decides; a memory the model does not have makes it unknown."""
    normalise = Normaliser((r"a100", "A100-40GB"), (r"a100.*", "A100-80GB"), (r"h100", "H100"))
    assert normalise(" A100 ") == "A100-40GB"
    assert normalise("A100-SXM", 79.6) == "A100-80GB"
    assert normalise("H100", 80) == "H100"
    assert normalise("H100", 94) == "unknown:H100"
    assert normalise("Z900") == "unknown:Z900"
    with pytest.raises(InvariantBroken):
        Normaliser(("x", "X1"))


def test_the_table_of_accelerators_is_whole() -> None:
    """Each model has a vendor, a memory and a rough speed, by the name it is found under."""
    for name in known_gpus():
        found = accelerator(name)
        assert found is not None
        assert found.name == name
        assert found.memory_gib > 0
        assert found.vendor in {"nvidia", "amd"}
        assert 0 <= found.tflops < 10_000


def test_errors_say_until_when_and_carry_no_secret() -> None:
    """A code's meaning gives its waiting time; long blobs, keys and tokens are cut out of texts."""
    error = Meaning(NoCapacity, 60 * SECOND).to_error("dry", 5 * SECOND)
    assert isinstance(error, NoCapacity)
    assert error.until == 65 * SECOND
    assert Meaning(NoCapacity).to_error("dry", 0).until is None
    assert Meaning(NoCapacity, 1).to_error("dry", 0, until=9).until == 9
    secret = "abcdefghijklmnop" * 5
    text = tidy(f"Bearer {secret}\n key=hunter2&x AKIAABCDEFGHIJKLMNOP eyJ{secret} " + "w " * 500)
    for hidden in (secret, "hunter2", "AKIAABCDEFGHIJKLMNOP"):
        assert hidden not in text
    assert len(text) == 300
    assert "\n" not in text


def test_a_missing_sdk_is_one_line_that_says_what_to_install() -> None:
    """Asking for a package that is not there names the extra that brings it."""
    for ask in (need_sdk, load_sdk):
        with pytest.raises(PluginError, match=r"pip install 'spot-treasury\[aws\]'"):
            ask("no_such_package_anywhere", "aws")
    assert load_sdk("json", "aws").loads("1") == 1
