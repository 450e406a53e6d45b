"""Contestants run in turn, disturbed runs are repeated, and the result has the members that FORMATS promises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from bench.contestant import Contestant, Job, Running
from bench.options import Options
from bench.rounds import OTHER_MAX, median, result, run_rounds
from bench.sampling import Figures
from bench.topics import Topics
from sluice.embedded.fetching import Progress

QUIET = Figures(
    rate=1000, client=10, broker=4, postgres=2, rss_mib=100, process_mib=60, other=0.01, first_s=2, measured=900
)


class Idle(Contestant):
    """A contestant that never runs."""

    def __init__(self, name: str) -> None:
        self.name = name

    def build(self, progress: Progress) -> Mapping[str, str]:
        return {}

    def prepare(self, job: Job, topics: Topics) -> None:
        raise NotImplementedError

    def start(self, job: Job) -> Running:
        raise NotImplementedError


def test_contestants_take_turns_and_none_is_always_first() -> None:
    order: list[str] = []

    def run(contestant: Contestant, _name: str) -> Figures:
        order.append(contestant.name)
        return QUIET

    run_rounds([Idle("a"), Idle("b"), Idle("c")], 3, 0, run, lambda _line: None)
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_each_run_has_a_name_of_its_own() -> None:
    names: list[str] = []

    def run(_contestant: Contestant, name: str) -> Figures:
        names.append(name)
        return replace(QUIET, other=1.0)

    run_rounds([Idle("a"), Idle("b")], 2, 1, run, lambda _line: None)
    assert len(names) == len(set(names)) == 8


def test_a_disturbed_run_is_repeated_and_the_quieter_one_counts() -> None:
    runs = [replace(QUIET, other=0.5, rate=1), replace(QUIET, other=0.3, rate=2), replace(QUIET, other=0.4, rate=3)]
    waiting = iter(runs)
    lines: list[str] = []
    found = run_rounds([Idle("a")], 1, 2, lambda _contestant, _name: next(waiting), lines.append)
    assert [one.rate for one in found["a"]] == [2]
    assert sum("repeated" in one for one in lines) == 2


def test_a_quiet_run_is_not_repeated() -> None:
    count = 0

    def run(_contestant: Contestant, _name: str) -> Figures:
        nonlocal count
        count += 1
        return replace(QUIET, other=OTHER_MAX)

    run_rounds([Idle("a")], 1, 5, run, lambda _line: None)
    assert count == 1


def test_each_figure_has_its_own_median() -> None:
    runs = [replace(QUIET, rate=1, client=30), replace(QUIET, rate=2, client=10), replace(QUIET, rate=9, client=20)]
    assert (median(runs).rate, median(runs).client) == (2, 20)


def test_the_result_is_one_json_object_with_ratios_of_ours_to_each_peer() -> None:
    found = {
        "ours": [replace(QUIET, rate=600, client=20)] * 3,
        "control": [replace(QUIET, rate=500)] * 3,
        "before": [replace(QUIET, rate=50)] * 3,
        "quix": [replace(QUIET, rate=300, client=40, broker=8, postgres=4)] * 3,
    }
    options = Options("mapper", 1000, 1000)
    said = json.loads(json.dumps(result(options, found, {"sluice": "abc"}, {"servers": "durable"})))
    assert said["ours"] == 600
    assert said["peers"] == {"before": 50, "quix": 300}
    assert said["ratios"] == {"before": 12, "quix": 2}
    assert said["control"] == {"rate": 500, "ratio": 1.2}
    assert said["cpu_s_per_million"]["quix"] == {"client": 40, "broker": 8, "postgres": 4}
    assert said["cpu_ratios"]["quix"] == 2
    assert said["rss_mib"]["ours"] == 100
    assert said["process_rss_mib"]["ours"] == 60
    assert said["versions"] == {"sluice": "abc"}
    assert said["machine"]["processors"] > 0
    assert said["options"]["n"] == 1000
    assert len(said["runs"]["ours"]) == 3
    assert "latency_ms" not in said


def test_the_result_of_a_merger_says_how_long_a_restart_takes() -> None:
    found = {"ours": [replace(QUIET, first_s=1.234)]}
    assert result(Options("merger", 1000, 1000), found, {}, {})["restart_s"] == {"ours": 1.23}
    assert "restart_s" not in result(Options("mapper", 1000, 1000), found, {}, {})


def test_the_result_has_latencies_where_they_were_measured() -> None:
    run = replace(QUIET, latency_p50_ms=12.34, latency_p99_ms=99.99, changes_per_s=499.6)
    said = result(Options("end_to_end", 1000, 1000), {"ours": [run], "control": [run]}, {}, {})
    assert said["latency_ms"]["ours"] == {"p50": 12.3, "p99": 100.0, "changes_per_s": 500}


def test_the_result_of_cdc_has_ratios_of_snapshots_and_of_the_clients_processor_time() -> None:
    ours = replace(QUIET, snapshot_rate=600.0, latency_p99_ms=50.0, latency_cores=0.1234, changes_per_s=500)
    tuned = replace(QUIET, rate=500, client=25, snapshot_rate=400.0)
    found = result(Options("cdc", 1000, 1000), {"ours": [ours], "tuned": [tuned], "default": [QUIET]}, {}, {})
    assert found["ratios"] == {"tuned": 2.0, "default": 1.0, "snapshot_tuned": 1.5}
    assert found["client_cpu_ratios"] == {"tuned": 2.5, "default": 1.0}
    assert found["snapshot"]["tuned"]["rate"] == 400
    assert found["latency_ms"]["ours"]["cores"] == 0.123
