"""What a person sees: a live table of stages and the golden record on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sluice.demo.golden import GoldenRecord
from sluice.demo.stages import StageProcess

LINE_EVERY_S = 5.0
PLAIN_WIDTH = 180


class Screen:
    """`quiet` leaves stdout to the JSON object; progress then goes to stderr."""

    def __init__(self, quiet: bool) -> None:
        out = sys.stderr if quiet else sys.stdout
        self._console = Console(file=out, highlight=False, width=None if out.isatty() else PLAIN_WIDTH)
        self._live: Live | None = None
        self._golden: GoldenRecord | None = None
        self._found_after_s = 0.0
        self._rates: dict[str, tuple[float, int, float]] = {}
        self._next_line_at = 0.0

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def tell(self, line: str) -> None:
        """One line of progress."""
        self._console.print(Text(line))

    def golden(self, record: GoldenRecord, after_s: float) -> None:
        self._golden, self._found_after_s = record, after_s
        if not self._console.is_terminal:
            self._console.print(self._golden_table())

    def update(self, stages: Sequence[StageProcess]) -> None:
        """Draw what the stages do now."""
        table = self._stage_table(stages)
        if self._console.is_terminal:
            if self._live is None:
                self._live = Live(console=self._console, refresh_per_second=4)
                self._live.start()
            troubles = [Text(f"{s.name}: {told}", style="red") for s in stages if (told := s.trouble())]
            logs = [Text(f"logs: {stages[0].log.parent}", style="dim")] if stages else []
            golden = [self._golden_table()] if self._golden else []
            self._live.update(Group(table, *troubles, *golden, *logs, _HINT))
        elif time.monotonic() >= self._next_line_at:
            self._next_line_at = time.monotonic() + LINE_EVERY_S
            self._console.print(Text(_line(stages)))
            for stage in stages:
                if told := stage.trouble():
                    self._console.print(Text(f"{stage.name}: {told} (see {stage.log})"))

    def _stage_table(self, stages: Sequence[StageProcess]) -> Table:
        table = Table(title="Sluice", title_justify="left", expand=False)
        for heading, justify in [("stage", "left"), ("records", "right"), ("records/s", "right"), ("lag", "right")]:
            table.add_column(heading, justify=justify)  # type: ignore[arg-type]
        table.add_column("dead letters", justify="right")
        table.add_column("state")
        for stage in stages:
            counts = stage.counts
            state = "ready" if counts.ready else "not ready"
            if stage.restarts:
                state += f" (restarted {stage.restarts} ×)"
            rate = self._rate(stage.name, counts.records)
            row = [f"{counts.records:,}", f"{rate:,.0f}", f"{counts.lag_records:,}", f"{counts.dead_letters:,}"]
            table.add_row(stage.name, *row, state)
        return table

    def _rate(self, name: str, records: int) -> float:
        """Records a second, over the last second or more."""
        now = time.monotonic()
        at, before, rate = self._rates.get(name, (now, records, 0.0))
        if now - at >= 1.0:
            rate = max(0, records - before) / (now - at)
            at, before = now, records
        self._rates[name] = (at, before, rate)
        return rate

    def _golden_table(self) -> Table:
        record = self._golden
        if record is None:
            return Table()
        title = f"{record.entity} {record.entity_id}: a golden record, {self._found_after_s:.1f} s after the start"
        table = Table(title=title, title_justify="left", expand=False)
        for heading in ("field", "value", "from", "source record", "rule"):
            table.add_column(heading, overflow="ellipsis", no_wrap=True, max_width=44)
        for f in record.fields:
            table.add_row(
                *map(Text, (f.field, f.value.replace("\n", " "), f"{f.source}.{f.stream}", f.source_key, f.rule))
            )
        return table


_HINT = Text("Ctrl-C stops everything; the data stays for the next time.", style="dim")


def _line(stages: Sequence[StageProcess]) -> str:
    parts = [f"{s.name} {s.counts.records} (lag {s.counts.lag_records}, dead {s.counts.dead_letters})" for s in stages]
    return " | ".join(parts)
