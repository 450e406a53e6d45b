"""Shows golden records and the number of golden rows on the screen of a run."""

from __future__ import annotations

import time

from sluice.local.golden_record import GoldenRows
from sluice.local.screen import Screen

COUNT_EVERY_S = 2.0
# After a golden record of a single source was shown, the run searches this long for a record of several sources. The
# search reads whole tables, so it must end.
BETTER_WITHIN_S = 60.0


class GoldenDisplay:
    """The golden rows of one run. `sources`: of how many sources a record must have values, so that no other record is
    searched. `started_at`: when the command started.

    `shown_at`: when the first record was shown, None before. `counts`: the number of rows by entity. Times are
    monotonic seconds.
    """

    def __init__(self, rows: GoldenRows, screen: Screen, *, sources: int, example: bool, started_at: float) -> None:
        self._rows = rows
        self._screen = screen
        self._sources = sources
        self._example = example
        self._started_at = started_at
        self._best_shown = 0
        self._counted_at = 0.0
        self.shown_at: float | None = None
        self.counts: dict[str, int] = {}

    def count(self) -> None:
        if (counts := self._rows.counts()) is not None:
            self._counted_at = time.monotonic()
            self.counts = self._screen.golden_rows = counts

    def update(self, *, settled: bool) -> bool:
        """Show the first golden record that has values of several sources. Returns True when the first record is shown.

        If the pipeline is no example, a record of a single source is shown until then. If there is none and the stages
        are `settled`, a record that an earlier run wrote is shown, because the sources may not change for hours.
        """
        now = time.monotonic()
        if now - self._counted_at >= COUNT_EVERY_S:
            self.count()
        late = self.shown_at is not None and now - self.shown_at > BETTER_WITHIN_S
        if self._best_shown >= self._sources or late:
            return False
        found = self._rows.find(self._sources)
        if found is None and not self._example and not self._best_shown:
            found = self._rows.find(1)
            if found is None and settled:
                found = self._rows.find(self._sources, earlier=True) or self._rows.find(1, earlier=True)
        if found is None:
            return False
        is_first = self.shown_at is None
        self._best_shown = max(1, len(found.sources))
        self.shown_at = now if self.shown_at is None else self.shown_at
        self._screen.golden(found, now - self._started_at)
        return is_first
