"""How much at a time, and how soon again: less and later after a failure, and back to what the settings allow."""

from __future__ import annotations

from sluice.stage.signals import Stop

BATCH_BYTES_MIN = 64 * 1024
WAIT_MIN_S = 0.1
WAIT_MAX_S = 5.0
ASKED_WAIT_MAX_S = 30.0


class Pace:
    """`batch_bytes` is what a batch is cut at, `batch_bytes_max` at most."""

    def __init__(self, batch_bytes_max: int) -> None:
        self.batch_bytes = self._batch_bytes_max = batch_bytes_max
        self._wait_s = 0.0

    def delivered(self) -> None:
        self.batch_bytes = min(self._batch_bytes_max, self.batch_bytes + BATCH_BYTES_MIN)

    def turned(self) -> None:
        """A turn came around without an error."""
        self._wait_s = 0.0

    def halve(self) -> None:
        """The batch may have been too large for what it met."""
        self.batch_bytes = max(BATCH_BYTES_MIN, self.batch_bytes // 2)

    def wait(self, stop: Stop, asked_s: float | None = None) -> None:
        """Wait as long as was asked for, or twice as long as the last time; the stop signal cuts it short."""
        self._wait_s = min(WAIT_MAX_S, max(WAIT_MIN_S, self._wait_s * 2))
        stop.wait(min(asked_s or self._wait_s, ASKED_WAIT_MAX_S))
