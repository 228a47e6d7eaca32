"""Canonical JSON: equal values have equal bytes, and what JSON cannot carry is refused."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetheris_cli.domain.codec import MAX_BYTES, MAX_DEPTH, canonical, decode, digest, parse
from aetheris_cli.domain.errors import InvalidPayload

CORPUS = json.loads((Path(__file__).parents[1] / "data" / "bad_payloads.json").read_text("utf-8"))
BAD = {
    name: entry["text"] if "text" in entry else bytes.fromhex(entry["hex"])
    for name, entry in CORPUS.items()
}
BAD |= {
    "5000 digits": "1" * 5_000,
    "5000 digits inside": '{"a": [-' + "9" * 5_000 + "]}",
    "one array too deep": "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
    "one object too deep": '{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1),
    "arrays without end": "[" * 100_000,
    "objects without end": '{"a":' * 100_000,
    "a well-formed tower": "[" * 100_000 + "]" * 100_000,
    "too large": '"' + "a" * MAX_BYTES + '"',
}

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=15,
)


def shuffled(value: Any) -> Any:
    """Give an equal value whose keys stand in the opposite order, with tuples for lists."""
    if isinstance(value, dict):
        return {key: shuffled(item) for key, item in reversed(value.items())}
    return tuple(map(shuffled, value)) if isinstance(value, list) else value


def tower(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@given(json_values)
def test_reading_back_gives_the_same_value_and_the_same_bytes(value: object) -> None:
    data = canonical(value)
    for read in (decode(data), parse(data), parse(data.decode())):
        assert read == value
        assert canonical(read) == data


@given(json_values)
def test_neither_key_order_nor_spelling_changes_the_bytes(value: object) -> None:
    assert canonical(shuffled(value)) == canonical(value)
    assert canonical(parse(json.dumps(value, indent=2))) == canonical(value)


@given(json_values, json_values)
def test_other_values_have_other_bytes(one: object, other: object) -> None:
    if canonical(one) == canonical(other):
        assert one == other


def test_the_form_is_sorted_at_every_level_tight_and_utf8() -> None:
    value = {"é": 1, "b": {"z": [{"y": 0.1, "x": None}], "a": True}, "a": (1, 1.0, 1e300)}
    assert canonical(value) == (
        '{"a":[1,1.0,1e300],"b":{"a":true,"z":[{"x":null,"y":0.1}]},"é":1}'.encode()
    )
    assert canonical({}) == b"{}"


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_bad_input_is_refused_with_a_reason(text: str | bytes) -> None:
    with pytest.raises(InvalidPayload) as caught:
        parse(text, "the input")
    assert caught.value.message.startswith("the input ")
    assert caught.value.why
    str(caught.value).encode()  # it can be printed


@given(st.binary() | st.text())
def test_noise_is_read_or_refused_and_nothing_else(text: str | bytes) -> None:
    with suppress(InvalidPayload):
        value = parse(text)
        assert parse(canonical(value)) == value


class Hostile:
    """Compares as an array library does: with an exception."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ValueError


UNFIT = [
    (float("nan"), "holds nan"),
    ([float("-inf")], "holds -inf"),
    (2**63, "integer of 64 bits"),
    ({"a": -(2**63) - 1}, "integer of 64 bits"),
    (10**5_000, "integer of 16610 bits"),
    ({1: "a"}, "key of type int"),
    ({"a": {None: 1}}, "key of type NoneType"),
    ({"a", "b"}, "type set"),
    (b"a", "type bytes"),
    ([object()], "type object"),
    (Hostile(), "type Hostile"),
    ("\ud800", "surrogate"),
    ({"a": 1, "\udc00": 2}, "surrogate"),
    (tower(MAX_DEPTH + 1), "nested more than 128"),
    ("a" * (MAX_BYTES - 1), "16,777,217 bytes"),
]


@pytest.mark.parametrize(("value", "complaint"), UNFIT, ids=[text for _, text in UNFIT])
def test_what_json_cannot_carry_is_refused(value: object, complaint: str) -> None:
    with pytest.raises(InvalidPayload, match=complaint) as caught:
        canonical(value, "the result")
    assert caught.value.message.startswith("the result ")


def test_a_loop_is_refused() -> None:
    loop: list[object] = []
    loop.append({"again": loop})
    with pytest.raises(InvalidPayload, match="nested"):
        canonical(loop)


def test_the_limits_themselves_are_allowed() -> None:
    for value in (2**63 - 1, -(2**63), tower(MAX_DEPTH), "a" * (MAX_BYTES - 2)):
        assert parse(canonical(value)) == value


def test_a_duplicate_key_is_named() -> None:
    with pytest.raises(InvalidPayload, match="the input has the key 'b' twice"):
        parse('{"a": {"c": 1, "b": 2, "b": 2}}', "the input")


def test_the_digest_is_sha256() -> None:
    assert digest(b"{}") == hashlib.sha256(b"{}").hexdigest()


def test_a_value_that_shares_its_parts_is_bounded_while_it_is_walked() -> None:
    value: list[Any] = []
    for _ in range(100):
        value = [value, value]
    with pytest.raises(InvalidPayload, match="holds more than"):
        canonical(value)
