"""Waiting for a condition with a deadline; the error after it names the condition."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sluice.errors import Transient
from support import pace

DEADLINE_S = 60.0
RENEWED_AT_MOST = 10
ASK_EVERY_MIN_S = 0.02
ASK_EVERY_MAX_S = 0.25
T = TypeVar("T")


class NotInTime(AssertionError):
    """A condition was not true before its deadline."""


def eventually(
    check: Callable[[], T | None],
    what: str = "",
    deadline_s: float = DEADLINE_S,
    state: Callable[[], str] = str,
    progress: Callable[[], object] = lambda: None,
) -> T:
    """Call `check` until its answer is true; returns the answer. An answer that raises Transient counts as false.

    `check` is called often at first and four times a second in the end, but never for more than half of the time.
    The deadline is that of a quiet machine (see `pace`).
    It starts again whenever `progress` returns another value than before: a wait continues as long as the work makes
    progress, up to ten deadlines. Raises NotInTime with `what` and `state()` at the end.
    """
    wait = _Wait(deadline_s, progress)
    asked_at = time.monotonic()
    while not (answer := _answer(check)):
        if wait.is_over():
            raise NotInTime(f"not within {wait.waited_s:.0f} s: {what}\n{state()}")
        pause_s = min(ASK_EVERY_MAX_S, max(ASK_EVERY_MIN_S, wait.waited_s / 10))
        # Between two checks.
        time.sleep(max(pause_s, time.monotonic() - asked_at))
        asked_at = time.monotonic()
    return answer


class _Wait:
    def __init__(self, deadline_s: float, progress: Callable[[], object]) -> None:
        self._began = self._moved_at = time.monotonic()
        self._deadline_s, self._progress, self._before = deadline_s, progress, progress()

    @property
    def waited_s(self) -> float:
        return time.monotonic() - self._began

    def is_over(self) -> bool:
        if (now := self._progress()) != self._before:
            self._before, self._moved_at = now, time.monotonic()
        return self._is_late(pace.slowness()) and self._is_late(pace.look_again())

    def _is_late(self, slowness: float) -> bool:
        allowed_s = self._deadline_s * slowness
        return time.monotonic() - self._moved_at > allowed_s or self.waited_s > RENEWED_AT_MOST * allowed_s


def _answer(check: Callable[[], T | None]) -> T | None:
    try:
        return check()
    except Transient:
        return None
