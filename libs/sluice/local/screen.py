"""Shows a run to the user: as a picture that is redrawn on a terminal, or as plain lines if the output is no
terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sluice.local.golden_record import GoldenRecord
from sluice.local.picture import ShownRecord, StageLine, causes_text, golden_lines, picture, rows_text, start_bar
from sluice.local.stage_process import StageProcess

LINE_EVERY_S = 5.0
TROUBLE_EVERY_S = 60.0
PLAIN_WIDTH = 180
_HINT = "Ctrl-C stops everything; the data stays for the next time."


class Screen:
    """The output of a run for the user. Any thread may call it. With `quiet`, it goes to stderr, because stdout is for
    the JSON result.

    Set these attributes for the next picture. `golden_rows`: the number of golden rows by entity. `causes`: the number
    of dead letters by stage and cause. `left_s`: seconds until the check; None if that is not known or the check has
    started.
    """

    def __init__(self, quiet: bool, console: Console | None = None) -> None:
        out = sys.stderr if quiet else sys.stdout
        self._console = console or Console(file=out, highlight=False, width=None if out.isatty() else PLAIN_WIDTH)
        self._live: Live | None = None
        self._found: ShownRecord | None = None
        self._stages: list[StageLine] = []
        self._logs = ""
        self._hint = Text(_HINT, style="dim")
        self._bar: Text | None = None
        self.golden_rows: Mapping[str, int] = {}
        self.causes: Mapping[str, Mapping[str, int]] = {}
        self._reported_causes: dict[str, dict[str, int]] = {}
        self._reported: dict[str, tuple[str, float]] = {}
        self.left_s: float | None = None
        self._rates: dict[str, tuple[float, int, float]] = {}
        self._next_line_at = 0.0

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def line(self, line: str) -> None:
        """Print one line of text. It is never wrapped, because it may contain a command to copy."""
        self._console.print(Text(line), soft_wrap=True)

    def step(self, number: int, steps: Sequence[str]) -> None:
        """Show that the step `steps[number]` of the start runs now."""
        if self._console.is_terminal:
            self._bar = start_bar(number, steps)
            self._draw()
        else:
            self.line(f"step {number + 1} of {len(steps)}: {steps[number]}")

    def stopping(self, line: str) -> None:
        """Show that the user requested a stop: `line` above the picture, and "stopping ..." below the picture until the
        end."""
        self._hint = Text("stopping ...", style="bold yellow")
        self.line(line)

    def stopped(self) -> None:
        """Show that all processes of the run have stopped."""
        self._hint = Text("stopped; the data stays for the next time")
        if self._live is None:
            self._console.print(self._hint)

    def golden(self, record: GoldenRecord, after_s: float) -> None:
        self._found = ShownRecord(record, after_s)
        if not self._console.is_terminal:
            self._console.print(*golden_lines(self._found, self._console.width), sep="\n")

    def update(self, stages: Sequence[StageProcess]) -> None:
        """Show what the stages do now: redraw the picture, or print a line every few seconds."""
        self._stages = [self._line(stage) for stage in stages]
        self._logs = f"logs: {stages[0].log.parent}" if stages else ""
        self._bar = None
        if self._console.is_terminal:
            self._draw()
        elif time.monotonic() >= self._next_line_at:
            self._next_line_at = time.monotonic() + LINE_EVERY_S
            self.line(" | ".join([_plain(self._stages), *self._summary()]))
            for stage, line in zip(stages, self._stages, strict=True):
                if line.trouble and self._is_new(line.name, line.trouble):
                    self.line(f"{line.name}: {line.trouble} (see {stage.log})")
                if not line.trouble:
                    self._reported.pop(line.name, None)  # a trouble that comes back is reported again
                causes = "; ".join(sorted(line.causes))
                changed = bool(line.causes) and self._reported_causes.get(line.name) != line.causes
                if changed and self._is_new(f"dead letters of {line.name}", causes):
                    self._reported_causes[line.name] = dict(line.causes)
                    self.line(f"{line.name}: dead letters: {causes_text(line.causes)}")

    def _is_new(self, about: str, trouble: str) -> bool:
        """Whether the text `trouble` about a stage must be printed: the last text about the same subject is another
        one, or was printed more than `TROUBLE_EVERY_S` ago."""
        now = time.monotonic()
        before, at = self._reported.get(about, ("", 0.0))
        if trouble == before and now - at < TROUBLE_EVERY_S:
            return False
        self._reported[about] = (trouble, now)
        return True

    def _draw(self) -> None:
        if self._live is None:
            # `Live` draws in a thread of its own, so that the picture follows the size of the terminal while this
            # thread waits.
            self._live = Live(get_renderable=self._picture, console=self._console, refresh_per_second=4)
            self._live.start()

    def _summary(self) -> list[str]:
        left = "" if self.left_s is None else f"{self.left_s:.0f} s until the check"
        return [one for one in (rows_text(self.golden_rows), left) if one]

    def _picture(self) -> Group:
        if self._bar is not None:
            return Group(self._bar, self._hint)
        notes = [Text("; ".join(self._summary()))] if self._summary() else []
        notes += [Text(self._logs, style="dim"), self._hint] if self._logs else [self._hint]
        return picture(self._console, self._stages, self._found, notes)

    def _line(self, stage: StageProcess) -> StageLine:
        rate, causes = self._rate(stage.name, stage.counts.done), self.causes.get(stage.name, {})
        return StageLine(stage.name, stage.counts, rate, stage.restarts, stage.trouble(), causes)

    def _rate(self, name: str, records: int) -> float:
        """How many records a stage processed a second, measured over the last second or more. `records`: the number
        processed so far."""
        now = time.monotonic()
        at, before, rate = self._rates.get(name, (now, records, 0.0))
        if now - at >= 1.0:
            rate = max(0, records - before) / (now - at)
            at, before = now, records
        self._rates[name] = (at, before, rate)
        return rate


def _plain(stages: Sequence[StageLine]) -> str:
    return " | ".join(f"{name} {c.done} (lag {c.lag_records}, dead {c.dead_letters})" for name, c, *_ in stages)
