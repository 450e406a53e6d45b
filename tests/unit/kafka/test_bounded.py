"""Calls that may never return are given up; the others behave as if they had been made directly."""

from __future__ import annotations

import threading

import pytest

from sluice.kafka.bounded import within


def test_a_call_that_returns_in_time_has_been_done() -> None:
    done: list[int] = []
    within(10.0, lambda: done.append(1))
    assert done == [1]


def test_what_a_call_raises_is_raised() -> None:
    def call() -> None:
        raise LookupError("this one")

    with pytest.raises(LookupError, match="this one"):
        within(10.0, call)


def test_a_call_that_never_returns_is_given_up() -> None:
    returns = threading.Event()

    def wait() -> None:
        returns.wait()

    with pytest.raises(TimeoutError):
        within(0.05, wait)
    returns.set()
