"""Canonical JSON: the fast path writes the same bytes as the rfc8785 package."""

from typing import Any

import orjson
import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from sluice.canonical_json import canonical_bytes

SAFE = 2**53 - 1
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LEAVES = st.none() | st.booleans() | st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)


@given(VALUES)
@example({"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "ö": 7})
@example({"a": 1e21, "b": 1e-7, "c": 333333333.33333329, "d": -0.0, "e": 1.0})
@example('\x7f\x1f\b\t\n\f\r"\\/</script>\u2028')
def test_it_writes_what_the_rfc_says(value: Any) -> None:
    assert canonical_bytes(value) == rfc8785.dumps(value)


@given(VALUES)
def test_a_text_that_is_read_and_written_again_is_equal(value: Any) -> None:
    written = canonical_bytes(value)
    assert canonical_bytes(orjson.loads(written)) == written


@pytest.mark.parametrize("number", [2**53, 2**63 - 1, -(2**63)])
def test_integers_beyond_a_double_are_written_as_their_digits(number: int) -> None:
    assert canonical_bytes({"n": number, "f": 0.5}) == b'{"f":0.5,"n":%d}' % number
    assert canonical_bytes([number]) == b"[%d]" % number


@pytest.mark.parametrize("value", [{1: 2}, {"a": {3}}, b"x", [object()]])
def test_a_value_that_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical_bytes(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), ["\ud800"]])
def test_a_number_or_text_that_json_does_not_have_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        canonical_bytes(value)
