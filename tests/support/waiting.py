"""Waiting for what nothing but the work of others brings about: with a deadline, and told by name when it passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sluice.errors import Transient

DEADLINE_S = 60.0
LOOK_EVERY_MIN_S = 0.02
LOOK_EVERY_MAX_S = 0.25
T = TypeVar("T")


def eventually(
    check: Callable[[], T | None], what: str = "", deadline_s: float = DEADLINE_S, state: Callable[[], str] = str
) -> T:
    """Ask `check` until its answer is true; the answer. A Transient is no answer yet.

    It is asked often at first and four times a second in the end. AssertionError with `what` and `state()` at the
    deadline.
    """
    began = time.monotonic()
    while not (answer := _answer(check)):
        waited_s = time.monotonic() - began
        assert waited_s < deadline_s, f"not within {deadline_s:.0f} s: {what}\n{state()}"
        time.sleep(min(LOOK_EVERY_MAX_S, max(LOOK_EVERY_MIN_S, waited_s / 10)))
    return answer


def _answer(check: Callable[[], T | None]) -> T | None:
    try:
        return check()
    except Transient:
        return None
