"""The page of the benchmarks shows every figure, and says which goals are missed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import report, report_page
from bench.charts import Point, bars, curves, short
from bench.options import parse

COST = {"client": 10.0, "broker": 4.0, "postgres": 0.0}
FOUND: dict[str, Any] = {
    "what": "mapper",
    "ours": 30_000,
    "peers": {"quix": 20_000, "bare": 90_000},
    "ratios": {"quix": 1.5, "bare": 0.333},
    "control": {"rate": 29_000, "ratio": 1.034},
    "cpu_s_per_million": {"ours": COST, "control": COST, "quix": COST, "bare": COST},
    "rss_mib": {"ours": 150, "control": 151, "quix": 140, "bare": 130},
    "process_rss_mib": {"ours": 250, "control": 151, "quix": 140, "bare": 130},
    "other": {"ours": 0.02, "control": 0.03, "quix": 0.01, "bare": 0.0},
    "options": {"n": 1000, "keys": 900, "rounds": 3, "partitions": 6, "processes": 1},
    "servers": "durable",
    "machine": {"processors": 2, "model": "CPU", "memory_gib": 8.0, "system": "Linux"},
    "versions": {"sluice": "abc"},
    "date": "2026-11-30",
}


def require_xml(text: str) -> None:
    """Raises ParseError if `text` is not XML."""
    ElementTree.fromstring(text)  # noqa: S314  the text is our own


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report_page, "FOLDER", tmp_path)
    return tmp_path


def test_a_missed_goal_is_named_like_a_reached_one(folder: Path) -> None:
    text = "\n".join(report_page.section("mapper", FOUND))
    assert "| quix | 20,000 | 1.50 |" in text
    assert "| control | 29,000 | 1.03 |" in text
    assert "| rate ÷ Quix Streams ≥ 2 | 1.5 | missed |" in text
    assert "| rate ÷ the bare loop ≥ 0.3 | 0.333 | reached |" in text
    assert "| client CPU s per million ≤ 30 | 10 | reached |" in text
    assert "| RSS of a process, MiB ≤ 200 | 250 | missed |" in text
    assert "the older commit" not in text  # it was not measured
    assert "2026-11-30, 2 × CPU" in text
    assert "sluice abc" in text
    require_xml((folder / "mapper.svg").read_text())


def test_the_section_of_cdc_shows_snapshots_first_records_and_latencies(folder: Path) -> None:
    found = {
        **FOUND,
        "peers": {"tuned": 20_000, "default": 10_000},
        "ratios": {"tuned": 1.5, "default": 3.0, "snapshot_tuned": 1.25},
        "client_cpu_ratios": {"tuned": 2.5},
        "cpu_s_per_million": {"ours": COST, "tuned": COST, "default": COST},
        "rss_mib": {"ours": 150, "tuned": 2000, "default": 2000},
        "other": {"ours": 0.0, "tuned": 0.0, "default": 0.0},
        "snapshot": {"ours": {**COST, "rate": 50_000}, "tuned": {**COST, "rate": 40_000}},
        "first_result_s": {"ours": 0.9, "tuned": 0.4},
        "latency_ms": {"ours": {"p50": 20.0, "p99": 61.0, "changes_per_s": 500, "cores": 0.15}},
    }
    text = "\n".join(report_page.section("cdc", found))
    assert "| tuned | 40,000 | 1.25 | 10.0 | 4.0 | 0.0 | 0.4 |" in text
    assert "| rows/s of a snapshot ÷ Debezium, tuned ≥ 1.3 | 1.25 | missed |" in text
    assert "| client CPU of Debezium, tuned ÷ ours ≥ 2 | 2.5 | reached |" in text
    assert "| first record after the start of the process, s ≤ 1.5 | 0.9 | reached |" in text
    assert "| ours | 20.0 | 61.0 | 500 | 0.15 |" in text
    assert "| latency p99, ms ≤ 60 | 61 | missed |" in text
    assert "| processors used at 500 changes/s ≤ 0.2 | 0.15 | reached |" in text


def test_memory_that_grows_with_the_backlog_misses_its_goal() -> None:
    curve = next(one for one in report_page.CURVES if one.name == "cdc_backlog")
    assert report_page.memory_goal(curve, [100, 95, 109]).endswith("it differs by 9%: reached.")
    assert report_page.memory_goal(curve, [100, 112, 100]).endswith("it differs by 12%: missed.")


def test_only_the_figures_of_the_page_are_replaced() -> None:
    text = f"head\n{report_page.BEGIN}\nold\n{report_page.END}\ntail\n"
    assert report_page.with_figures(text, "new") == f"head\n{report_page.BEGIN}\nnew\n{report_page.END}\ntail\n"


def test_the_page_has_the_marks_of_its_figures() -> None:
    text = report.PAGE.read_text()
    assert text.index(report_page.BEGIN) < text.index(report_page.END)


def test_the_readme_has_a_line_for_each_benchmark() -> None:
    latency = {"ours": {"p50": 70.4, "p99": 250.1}, "before": {"p50": 1.0, "p99": 1.0}}
    end_to_end = {**FOUND, "peers": {"before": 800}, "latency_ms": latency}
    lines = list(report_page.summary({"mapper": FOUND, "end_to_end": end_to_end}))
    assert "| `mapper` | 30,000 | quix 20,000; bare 90,000 | 10.0, 4.0, 0.0 |" in lines
    assert "| `end_to_end` | 30,000 | none | 10.0, 4.0, 0.0 |" in lines
    assert lines[-1] == "Latency from commit to golden row at 500 changes a second, p50 and p99 in ms: ours 70, 250."
    assert report_page.BEGIN in report.README.read_text()


def test_a_part_that_fails_is_named_and_keeps_its_older_result(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("PAGE", "README"):
        (tmp_path / name).write_text(f"head\n{report_page.BEGIN}\n{report_page.END}\ntail\n")
        monkeypatch.setattr(report, name, tmp_path / name)
    monkeypatch.setattr(report, "FOLDER", folder)

    def measured(what: str, arguments: list[str]) -> Any:
        if what == "sink":
            raise subprocess.CalledProcessError(1, "bench")
        return FOUND

    monkeypatch.setattr(report, "measured", measured)
    monkeypatch.setattr("sys.argv", ["report", "--only", "mapper,sink"])
    assert report.main() == 1
    assert (
        'not measured: sink. Next: read the reason above, then make bench-report ARGS="--only sink"'
        in capsys.readouterr().err
    )
    assert "| quix | 20,000 | 1.50 |" in (tmp_path / "PAGE").read_text()
    assert "| `mapper` | 30,000 |" in (tmp_path / "README").read_text()


def test_a_curve_shows_each_of_its_points(folder: Path) -> None:
    curve = report_page.CURVES[0]
    found = [
        {"load": n, "rate": 9, "client": 3.5, "broker": 1, "postgres": 0, "rss_mib": 77, "first_result_s": 2}
        for n, _ in curve.points
    ]
    text = "\n".join(report_page.growth(curve, found))
    assert text.count("| 77 |") == len(curve.points)
    require_xml((folder / f"{curve.name}.svg").read_text())


def test_the_options_of_every_curve_are_options_of_the_benchmarks() -> None:
    for curve in report_page.CURVES:
        for _, arguments in curve.points:
            parse(["--what", curve.what, *arguments.split()])


def test_charts_are_well_formed_whatever_the_names_and_values() -> None:
    require_xml(bars("a < b & c", {"<x>": 0.0, "y": 12.5}, ["y"]))
    require_xml(curves("t", "x", ["a", "b"], [Point(1, (0, 0))]))


def test_numbers_are_short() -> None:
    assert [short(value) for value in (0, 7.25, 950, 12_000, 1_500_000)] == ["0", "7.25", "950", "12k", "1.5M"]


def test_a_profile_names_threads_and_functions() -> None:
    found = {
        "profile": {
            "ours": {"threads_cpu_s": {"python": 9.5}, "functions": [{"function": "take (q.py)", "share": 0.25}]}
        },
        "options": {"n": 1000},
    }
    text = "\n".join(report_page.profile("mapper", found))
    assert "1,000 records: `python` 9.5." in text
    assert "| `take (q.py)` | 25.0% |" in text
