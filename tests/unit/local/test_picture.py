"""The demo's picture on terminals of several sizes: what matters is seen on the smallest, more where there is room."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from sluice.local.golden_record import GoldenField, GoldenRecord
from sluice.local.picture import ShownRecord, StageLine, chosen, picture, rows_text, start_bar
from sluice.local.stage_process import StageCounts
from sluice.names import STAGES

NOTES = [Text("logs: examples/workforce/.sluice/log", style="dim"), Text("Ctrl-C stops everything.", style="dim")]
HR, FINANCE = ("hr", "workers", '{"id":"W-8992"}'), ("finance", "public.payroll", '{"employee_number":"E08992"}')
VALUES = {
    "employee_number": ("E08992", HR),
    "full_name": ("Olga Wójcik", HR),
    "email": ("olga.wojcik.the.second@subsidiary.example.org", HR),
    "phone": ("+48221234567", HR),
    "height": ("1.72", HR),
    "job_title": ("Senior Vice President of Something Rather Long", HR),
    "country": ("PL", HR),
    "start_date": ("2019-04-01", HR),
    "manager": ("E00017", HR),
    "cost_centre": ("CC-1050", FINANCE),
    "base_pay": ("5709.2800 EUR", FINANCE),
    "pay_effective_from": ("2026-01-01", FINANCE),
    "iban": ("DE95258361418800000000", FINANCE),
    "payroll_notes": ("first line\nsecond line \x1b[2Jthird", FINANCE),
    "hr_updated_at": ("2026-11-22 10:41:12.123456+00", HR),
    "payroll_updated_at": ("2026-11-22 10:41:13.654321+00", FINANCE),
}


def golden_field(name: str) -> GoldenField:
    value, source = VALUES[name]
    return GoldenField(name, value, *source, rule="prefer(finance,hr)")


FOUND = ShownRecord(GoldenRecord("worker", "E08992", [golden_field(name) for name in VALUES]), 41.2)


def stages(trouble: str = "") -> list[StageLine]:
    counts = StageCounts(1_234_567, lag_records=200_000, dead_letters=1_204, ready=not trouble)
    return [StageLine(name, counts, 10_000.4, 2, trouble) for name in STAGES]


def drawn(width: int, height: int, lines: list[StageLine], found: ShownRecord | None = FOUND) -> list[str]:
    """What a terminal of this size shows, line by line."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(picture(console, lines, found, NOTES))
    return [line.rstrip() for line in captured.get().rstrip("\n").split("\n")]


def test_a_terminal_of_80_by_24_shows_every_stage_and_field_value_and_source() -> None:
    shown = drawn(80, 24, stages())
    assert len(shown) <= 23, "the last line is the cursor's"
    assert max(map(cell_len, shown)) <= 80
    text = "\n".join(shown)
    assert all(name in text for name in STAGES)
    assert "1,234,567" in text
    assert shown[-1] == "Ctrl-C stops everything."
    (pay,) = [line for line in shown if line.startswith("base_pay ")]
    assert "5709.2800 EUR" in pay
    assert pay.endswith("finance.public.payroll")
    (name,) = [line for line in shown if line.startswith("full_name ")]
    assert "Olga Wójcik" in name
    assert name.endswith("hr.workers")


def test_fields_without_room_are_counted_and_the_command_that_shows_them_is_named() -> None:
    shown = drawn(80, 24, stages())
    fields = [line for line in shown if line.endswith(("hr.workers", "finance.public.payroll"))]
    assert f"… and {len(VALUES) - len(fields)} more: sluice explain worker E08992" in shown
    assert len(fields) >= 9


def test_a_stage_in_trouble_takes_its_lines_from_the_fields_not_from_the_bottom() -> None:
    trouble = "input topic paused: too many dead letters; this is a bad mapping or deploy: fix it, then restart"
    shown = drawn(80, 24, stages(trouble))
    assert len(shown) <= 23
    assert "mapper: input topic paused" in "\n".join(shown)
    assert shown[-1] == "Ctrl-C stops everything."
    assert sum(line.endswith(("hr.workers", "finance.public.payroll")) for line in shown) >= 3


@pytest.mark.parametrize(("width", "columns"), [(60, 3), (80, 3), (100, 4), (120, 5)])
def test_a_wider_terminal_shows_more_columns(width: int, columns: int) -> None:
    shown = drawn(width, 50, stages())
    (heading,) = [line for line in shown if line.startswith("field ")]
    assert len(heading.replace("source record", "source_record").split()) == columns
    assert max(map(cell_len, shown)) <= width


def test_a_higher_terminal_shows_every_field() -> None:
    shown = drawn(80, 50, stages())
    assert all(any(line.startswith(f"{name} ") for line in shown) for name in VALUES)
    assert "more: sluice explain" not in "\n".join(shown)


def test_a_value_cannot_move_the_terminal_s_cursor() -> None:
    shown = drawn(200, 50, stages())
    (notes,) = [line for line in shown if line.startswith("payroll_notes ")]
    assert "first line second line [2Jthird" in notes


def test_every_source_is_among_the_fields_that_fit() -> None:
    of_hr = [GoldenField(f"field_{n}", "1", *HR, rule="r") for n in range(20)]
    of_finance = GoldenField("pay", "1", *FINANCE, rule="r")
    assert [one.field for one in chosen([*of_hr, of_finance], 3)] == ["field_0", "field_1", "pay"]


def test_dead_letters_are_shown_by_cause_the_most_frequent_first() -> None:
    lines = [one._replace(causes={"unreadable": 2, "mapping-failed": 1_200}) for one in stages()[:1]]
    assert f"{lines[0].name}: dead letters: 1,200 mapping-failed, 2 unreadable" in drawn(80, 24, lines)


@pytest.mark.parametrize(("done", "full"), [(0, 0), (1, 8), (2, 16)])
def test_a_bar_shows_how_far_the_start_is(done: int, full: int) -> None:
    bar = start_bar(done, ("servers", "topics", "schemas and stages"), 24).plain
    assert bar.startswith("█" * full + "░" * (24 - full))
    assert bar.endswith(f"step {done + 1} of 3: {('servers', 'topics', 'schemas and stages')[done]}")


def test_golden_rows_are_counted_by_entity_and_not_beyond_a_million() -> None:
    assert rows_text({"worker": 9_999, "cost_centre": 1_000_000}) == "golden rows: 9,999 worker, 1,000,000+ cost_centre"
    assert rows_text({}) == ""


def coloured(environment: dict[str, str]) -> str:
    out = io.StringIO()
    console = Console(file=out, width=80, height=24, force_terminal=True, color_system="standard", _environ=environment)
    console.print(picture(console, stages("the broker does not answer"), FOUND, NOTES))
    return out.getvalue()


def test_there_are_colours_where_a_terminal_has_them_and_none_where_no_color_is_set() -> None:
    red, yellow = "\x1b[31m", "\x1b[33m"
    assert red in coloured({})
    assert yellow in coloured({})
    without = coloured({"NO_COLOR": "1"})
    assert red not in without
    assert yellow not in without


def test_nothing_is_drawn_of_a_record_that_is_not_found_yet() -> None:
    assert "golden record" not in "\n".join(drawn(80, 24, stages(), None))
