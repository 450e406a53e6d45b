"""A hypothesis test fails for what it finds, never for the time that it takes."""

import time

from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=3)
@given(st.integers())
def test_an_example_may_take_as_long_as_it_takes(number: int) -> None:
    time.sleep(0.3)  # longer than hypothesis allows an example by itself
    assert isinstance(number, int)


def slowly(number: int) -> int:
    time.sleep(0.12)  # hypothesis calls such a strategy too slow
    return number


@settings(max_examples=12)
@given(st.integers().map(slowly))
def test_examples_may_take_long_to_be_made(number: int) -> None:
    assert isinstance(number, int)
