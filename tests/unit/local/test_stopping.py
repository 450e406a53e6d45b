"""Ctrl-C in a demo is answered at once, and the screen says so until everything has ended."""

from __future__ import annotations

import io
from pathlib import Path
from queue import SimpleQueue

import pytest
from rich.console import Console

from sluice.local.screen import Screen
from sluice.local.stage_process import StageProcess
from sluice.local.stopping import answered
from sluice.stage.signals import Stop

ANSWERED_WITHIN_S = 5.0


def test_a_stop_is_answered_while_the_demo_waits_for_something_else() -> None:
    stop, lines = Stop(), SimpleQueue[str]()
    with answered(stop, lines.put, lambda: "Kafka, which is being started"):
        stop.request()
        line = lines.get(timeout=ANSWERED_WITHIN_S)  # the demo is still busy here
    assert line == "stopping ... waiting for Kafka, which is being started"
    assert lines.empty()


def test_a_stop_is_answered_even_if_nothing_has_to_be_waited_for() -> None:
    stop, lines = Stop(), SimpleQueue[str]()
    with answered(stop, lines.put, lambda: "nothing"):
        stop.request()
    assert not lines.empty()


def test_a_demo_that_ends_by_itself_says_nothing_of_a_stop() -> None:
    lines = SimpleQueue[str]()
    with answered(Stop(), lines.put, lambda: "nothing"):
        pass
    assert lines.empty()


def screen_of_a_terminal(ends_with: str, tmp_path: Path) -> list[str]:
    """What a terminal shows after a stop was requested, before and after the end."""
    out = io.StringIO()
    console = Console(file=out, width=80, height=24, force_terminal=True, color_system=None)
    with Screen(quiet=False, console=console) as screen:
        screen.update([StageProcess("mapper", tmp_path, {})])
        screen.stopping("stopping ... waiting for one check of the stages")
        if ends_with == "stopped":
            screen.stopped()
    return [line.strip() for line in out.getvalue().splitlines()]


def test_the_terminal_says_that_the_demo_stops_until_it_has(tmp_path: Path) -> None:
    shown = screen_of_a_terminal("stopping", tmp_path)
    assert "stopping ... waiting for one check of the stages" in "\n".join(shown)
    assert "stopping ..." in shown[-2:]
    assert "stopped; the data stays for the next time" in screen_of_a_terminal("stopped", tmp_path)[-2:]


def test_a_line_with_a_command_is_never_broken() -> None:
    out, line = io.StringIO(), "Next: run `sluice skips accept mapper raw.hr.workers 3 --to 60`, " * 4
    with Screen(quiet=False, console=Console(file=out, width=80)) as screen:
        screen.line(line)
    assert out.getvalue() == f"{line}\n"


def test_where_there_is_no_terminal_each_step_and_the_time_left_are_lines(tmp_path: Path) -> None:
    out = io.StringIO()
    with Screen(quiet=False, console=Console(file=out, width=180)) as screen:
        screen.step(0, ("servers", "stages"))
        screen.golden_rows = {"worker": 12}
        screen.left_s = 7.6
        screen.update([StageProcess("mapper", tmp_path, {})])
    assert out.getvalue().splitlines() == [
        "step 1 of 2: servers",
        "mapper 0 (lag 0, dead 0) | golden rows: 12 worker | 8 s until the check",
    ]


def test_without_a_terminal_causes_of_dead_letters_are_printed_when_there_is_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluice.local.screen.LINE_EVERY_S", 0.0)
    out = io.StringIO()
    with Screen(quiet=False, console=Console(file=out, width=180)) as screen:
        for counts in ({"wrong-type": 1}, {"wrong-type": 1}, {"wrong-type": 2}, {"wrong-type": 2, "not-json": 1}):
            screen.causes = {"mapper": counts}
            screen.update([StageProcess("mapper", tmp_path, {})])
    lines = [line for line in out.getvalue().splitlines() if "dead letters" in line]
    assert lines == ["mapper: dead letters: 1 wrong-type", "mapper: dead letters: 2 wrong-type, 1 not-json"]


def test_without_a_terminal_a_trouble_is_printed_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluice.local.screen.LINE_EVERY_S", 0.0)
    out, stage = io.StringIO(), StageProcess("mapper", tmp_path, {})
    stage.log.parent.mkdir()
    with Screen(quiet=False, console=Console(file=out, width=180)) as screen:
        for why in ("one", "one", "two", "", "two"):
            stage.log.write_text(f"sluice: {why}\n" if why else "")
            screen.update([stage])
    lines = [line for line in out.getvalue().splitlines() if line.startswith("mapper: ")]
    assert lines == [f"mapper: sluice: {why} (see {stage.log})" for why in ("one", "two", "two")]


def test_where_there_is_no_terminal_the_lines_stand_one_below_the_other(tmp_path: Path) -> None:
    out = io.StringIO()
    with Screen(quiet=False, console=Console(file=out, width=180)) as screen:
        screen.stopping("stopping ... waiting for nothing")
        screen.line("ending mapper")
        screen.stopped()
    lines = out.getvalue().splitlines()
    assert lines == [
        "stopping ... waiting for nothing",
        "ending mapper",
        "stopped; the data stays for the next time",
    ]
