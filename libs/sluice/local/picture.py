"""Draws the stages and a golden record as lines that fit the size of the terminal. Pure: values in, drawing out.

A small terminal shows every stage, and the golden record's fields, values and sources. A larger one shows more columns
and more fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from sluice.local.golden_record import COUNTED_MAX, GoldenField, GoldenRecord
from sluice.local.stage_process import StageCounts

GAP = 2
BAR_WIDTH = 24
VALUE_WIDTH_MIN, VALUE_WIDTH_MAX = 24, 60
GOLDEN_ROWS_MIN = 6
HEADINGS = ("field", "value", "from", "source record", "rule")
WIDTH_MAX = 44
_VALUE = HEADINGS.index("value")


class StageLine(NamedTuple):
    """What a stage does now, for one line of the screen. `trouble`: its active fault or last error, empty if there is
    none. `causes`: the number of dead letters by cause."""

    name: str
    counts: StageCounts
    records_per_s: float
    restarts: int
    trouble: str = ""
    causes: Mapping[str, int] = {}


class ShownRecord(NamedTuple):
    """A golden record that is shown on the screen. `after_s`: how many seconds after the start of the run it was
    found."""

    record: GoldenRecord
    after_s: float


def picture(console: Console, stages: Sequence[StageLine], found: ShownRecord | None, notes: Sequence[Text]) -> Group:
    """The whole screen: the stages, the golden record if one is `found`, and `notes` at the bottom. One line of the
    terminal stays free for the cursor."""
    table, troubles = stage_table(stages), [*_troubles(stages)]
    if found is None:
        return Group(table, *troubles, *notes)
    rows = console.height - 1 - _height(console, [table, *troubles, Text(), *notes])
    if rows < GOLDEN_ROWS_MIN:
        for trouble in troubles:
            trouble.no_wrap, trouble.overflow = True, "ellipsis"
        rows = console.height - 1 - _height(console, [table, *troubles, Text(), *notes])
    return Group(table, *troubles, Text(), *golden_lines(found, console.width, rows), *notes)


def stage_table(stages: Sequence[StageLine]) -> Table:
    table = _table()
    table.add_column("stage", no_wrap=True)
    for heading in ("records", "records/s", "lag", "dead letters"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    restarted = any(one.restarts for one in stages)
    if restarted:
        table.add_column("restarts", justify="right", no_wrap=True)
    for one in stages:
        numbers = [f"{number:,}" for number in (one.counts.done, round(one.records_per_s), one.counts.lag_records)]
        dead = Text(f"{one.counts.dead_letters:,}", style="bold red" if one.counts.dead_letters else "")
        state = Text("ready", style="green") if one.counts.ready else Text("not ready", style="yellow")
        table.add_row(one.name, *numbers, dead, state, *([str(one.restarts)] if restarted else []))
    return table


def _troubles(stages: Sequence[StageLine]) -> Iterator[Text]:
    for one in stages:
        if one.trouble:
            yield Text(f"{one.name}: {one.trouble}", style="red")
        if one.causes:
            yield Text(f"{one.name}: dead letters: {causes_text(one.causes)}", style="red")


def causes_text(causes: Mapping[str, int]) -> str:
    """The number of dead letters by cause as one line of text, the most frequent cause first."""
    ordered = sorted(causes.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{count:,} {cause}" for cause, count in ordered)


def start_bar(done: int, steps: Sequence[str], width: int = BAR_WIDTH) -> Text:
    """A progress bar of the start: the first `done` of `steps` are done, and the step after them runs now."""
    full = width * done // len(steps)
    text = f"  step {done + 1} of {len(steps)}: {steps[done]}"
    return Text.assemble(("█" * full, "green"), ("░" * (width - full), "dim"), text)


def rows_text(rows: Mapping[str, int]) -> str:
    """The number of golden rows of each entity, as one line of text."""
    counted = [f"{count:,}{'+' if count >= COUNTED_MAX else ''} {entity}" for entity, count in rows.items()]
    return f"golden rows: {', '.join(counted)}" if counted else ""


def golden_lines(found: ShownRecord, width: int, rows: int | None = None) -> Iterator[Table | Text]:
    """The golden record as a table with at most `rows` lines (None: all fields) that are at most `width` characters
    wide."""
    record = found.record
    title = f"{record.entity} {record.entity_id}: a golden record, {found.after_s:.1f} s after the start"
    yield Text(title, style="bold italic", no_wrap=True, overflow="ellipsis")
    fields_max = len(record.fields) if rows is None else max(GOLDEN_ROWS_MIN, rows) - 2
    more = len(record.fields) > fields_max
    fields = chosen(record.fields, fields_max - more) if more else record.fields
    widths = column_widths([_cells(one) for one in record.fields], width)
    table = _table()
    for heading, column_width in zip(HEADINGS, widths, strict=False):
        table.add_column(heading, width=column_width, no_wrap=True, overflow="ellipsis")
    for one in fields:
        table.add_row(*map(Text, _cells(one)[: len(widths)]))
    yield table
    if more:
        text = f"… and {len(record.fields) - len(fields)} more: sluice explain {record.entity} {record.entity_id}"
        yield Text(text, style="dim", no_wrap=True, overflow="ellipsis")


def chosen(fields: Sequence[GoldenField], count: int) -> list[GoldenField]:
    """Choose `count` of a golden record's fields, in their order. The sources take turns, so that fields of each source
    are shown."""
    by_source: dict[tuple[str, str], list[int]] = {}
    for index, one in enumerate(fields):
        by_source.setdefault((one.source, one.stream), []).append(index)
    in_turns = [index for turn in zip_longest(*by_source.values()) for index in turn if index is not None]
    return [fields[index] for index in sorted(in_turns[:count])]


def column_widths(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The widths of the columns that fit into `width`: the first three columns always, and each further column that
    leaves the column of values at least `VALUE_WIDTH_MIN`.

    The column of values gets the rest of the width, up to the length of its longest value.
    """
    natural = [max(map(cell_len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    natural = [min(one, VALUE_WIDTH_MAX if index == _VALUE else WIDTH_MAX) for index, one in enumerate(natural)]
    value = natural.pop(_VALUE)
    needed = min(value, VALUE_WIDTH_MIN)
    count = 2
    while count < len(natural) and needed + sum(natural[: count + 1]) + GAP * (count + 1) <= width:
        count += 1
    left = width - sum(natural[:count]) - GAP * count
    return [natural[0], max(1, min(value, left)), *natural[1:count]]


def _height(console: Console, parts: Sequence[Table | Text]) -> int:
    return sum(len(console.render_lines(part, pad=False)) for part in parts)


def _cells(one: GoldenField) -> tuple[str, ...]:
    # A value from a source may contain any character, but line breaks and control characters must not reach the
    # terminal.
    value = " ".join("".join(c if c.isprintable() else " " for c in one.value).split())
    return one.field, value, f"{one.source}.{one.stream}", one.source_key, one.rule


def _table() -> Table:
    return Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, expand=False, header_style="bold")
