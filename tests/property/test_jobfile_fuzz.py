"""Whatever bytes a job file holds, reading it gives a job or a user's error, and soon."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from treasury.domain.errors import UserError
from treasury.jobfile import inspect_job, job_spec, read_text
from treasury.jobfile.sections import CheckpointSection, JobSection, ResourcesSection

KEYS = st.sampled_from([*JobSection.__struct_fields__, "cost_center", "envs", "any_of", "speed"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["H100:8", "6h", "+8h", "1 USD", "2 USD/h", "s3://a", "a b", "a\nb", "80GB"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
BELOW = st.sampled_from(
    [*ResourcesSection.__struct_fields__, *CheckpointSection.__struct_fields__, "use_spot", "cloud"]
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=6) | st.builds(
    lambda key, inner: {key: inner},
    st.sampled_from(["resources", "checkpoint"]),
    st.dictionaries(BELOW, VALUES, max_size=4),
)
GOOD = {"cost_centre": "t", "gpu": "T4", "duration": "1h", "command": "x"}


def read(raw: bytes, kind: str) -> None:
    """Read a document all the way; only a user's errors are allowed."""
    try:
        found = inspect_job(read_text(raw, f"job{kind}", kind))
        if found.section is not None:
            job_spec(found.section, "j", 10**18)
    except UserError as error:
        told = str(error)
    else:
        told = "".join(map(str, found.errors))
    assert "\n" not in told and len(told) < 20_000


@given(st.binary(max_size=300), st.sampled_from([".toml", ".yaml", ".json"]))
def test_any_bytes(raw: bytes, kind: str) -> None:
    """Random bytes in each format."""
    read(raw, kind)


@given(st.text(alphabet=" \n\t-:[]{}&*!|>'\"%@`#,?a1.~<=", max_size=120))
def test_any_yaml_marks(text: str) -> None:
    """Text made of YAML's own marks."""
    read(text.encode(), ".yaml")


@settings(max_examples=200)
@given(TABLES)
def test_any_values(table: dict[str, object]) -> None:
    """Known keys with values of any type, beside keys that are right."""
    for document in (table, {**GOOD, **table}):
        read(json.dumps(document).encode(), ".json")
        read(json.dumps(document).encode(), ".yaml")
