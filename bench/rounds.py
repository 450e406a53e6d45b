"""Runs contestants in turn, repeats what other processes disturbed, and puts the figures together."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.contestant import Contestant
from bench.options import Options
from bench.peers import FORMS
from bench.sampling import Figures
from sluice.embedded.fetching import Progress

OURS, CONTROL, BEFORE = "ours", "control", "before"
OTHER_MAX = 0.10
"""A run is repeated if other processes used more than this part of the machine's processors."""

RunOnce = Callable[[Contestant, str], Figures]


def run_rounds(
    contestants: Sequence[Contestant], rounds: int, retries: int, run_once: RunOnce, report: Progress
) -> dict[str, list[Figures]]:
    """Run each contestant once in each round. The order turns by one place from round to round, so that no contestant
    always runs first.

    `run_once` gets a contestant and a name for the run, which no other run has.
    """
    found: dict[str, list[Figures]] = {one.name: [] for one in contestants}
    for number in range(rounds):
        turned = [*contestants[number % len(contestants) :], *contestants[: number % len(contestants)]]
        for contestant in turned:
            best: Figures | None = None
            for attempt in range(retries + 1):
                run = run_once(contestant, f"{contestant.name}_{number}_{attempt}")
                report(f"round {number + 1}: {line(contestant.name, run)}")
                best = run if best is None or run.other < best.other else best
                if best.other <= OTHER_MAX:
                    break
                if attempt < retries:
                    report(f"  other processes used {run.other:.0%} of the machine: repeated")
            if best is not None:
                found[contestant.name].append(best)
    return found


def line(name: str, run: Figures) -> str:
    """The figures of one run as a line for people. `name`: of the contestant."""
    parts = [
        f"{name:<10} {run.rate:>9,.0f}/s",
        f"CPU s per million: client {run.client:.1f}, broker {run.broker:.1f}, Postgres {run.postgres:.1f}",
        f"RSS {run.rss_mib:.0f} MiB",
        f"other processes {run.other:.0%}",
    ]
    if run.snapshot_rate:
        parts.append(f"snapshot {run.snapshot_rate:,.0f}/s, client CPU {run.snapshot_client:.1f}")
    if run.changes_per_s:
        reached = f"at {run.changes_per_s:.0f} changes/s"
        parts.append(f"latency p50 {run.latency_p50_ms:.0f} ms, p99 {run.latency_p99_ms:.0f} ms {reached}")
    if run.latency_cores:
        parts.append(f"{run.latency_cores:.0%} of a processor")
    return "; ".join(parts)


def median(runs: Sequence[Figures]) -> Figures:
    """The median of each figure by itself."""
    return Figures(**{name: statistics.median(getattr(run, name) for run in runs) for name in asdict(runs[0])})


def result(
    options: Options, found: Mapping[str, Sequence[Figures]], versions: Mapping[str, str], more: Mapping[str, Any]
) -> dict[str, Any]:
    """The JSON object of a benchmark. `ratios`: how many times as fast as a peer Sluice is, in the
    same rounds. `cpu_ratios`: how many times as much processor time a peer needs; a busy machine changes it little."""
    medians = {name: median(runs) for name, runs in found.items() if runs}
    ours, cost = medians[OURS].rate, medians[OURS].client + medians[OURS].broker + medians[OURS].postgres
    peers = {name: round(one.rate) for name, one in medians.items() if name not in (OURS, CONTROL)}
    return {
        "what": options.what,
        "ours": round(ours),
        "peers": peers,
        "ratios": {
            **with_best_forms({name: round(ours / medians[name].rate, 3) for name in peers}, FORMS),
            **snapshot_ratios(medians, peers),
        },
        "control": {"rate": round(medians[CONTROL].rate), "ratio": round(ours / medians[CONTROL].rate, 3)}
        if CONTROL in medians
        else None,
        "cpu_ratios": {
            name: round((one.client + one.broker + one.postgres) / cost, 3) if cost else None
            for name, one in medians.items()
            if name != OURS
        },
        **client_cpu_ratios(options, medians),
        "cpu_s_per_million": {
            name: {"client": round(one.client, 1), "broker": round(one.broker, 1), "postgres": round(one.postgres, 1)}
            for name, one in medians.items()
        },
        **latencies(medians),
        **snapshots(medians),
        "first_result_s": {name: round(one.first_s, 2) for name, one in medians.items()},
        **restarts(options, medians),
        "rss_mib": {name: round(one.rss_mib) for name, one in medians.items()},
        "process_rss_mib": {name: round(one.process_mib) for name, one in medians.items()},
        "other": {name: round(max(run.other for run in runs), 3) for name, runs in found.items() if runs},
        **more,
        "options": {name: value for name, value in asdict(options).items() if name != "what"},
        "runs": {name: [_rounded(run) for run in runs] for name, runs in found.items()},
        "versions": dict(versions),
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def restarts(options: Options, medians: Mapping[str, Figures]) -> dict[str, Any]:
    """The member `restart_s` of a merger, whose runs start with a state on disk: until its first batch is committed."""
    if options.what != "merger":
        return {}
    return {"restart_s": {name: round(one.first_s, 2) for name, one in medians.items()}}


def latencies(medians: Mapping[str, Figures]) -> dict[str, Any]:
    """The member `latency_ms`, if the benchmark measures latencies."""
    found = {
        name: {
            "p50": round(one.latency_p50_ms, 1),
            "p99": round(one.latency_p99_ms, 1),
            "changes_per_s": round(one.changes_per_s),
            **({"cores": round(one.latency_cores, 3)} if one.latency_cores else {}),
        }
        for name, one in medians.items()
        if one.latency_p99_ms
    }
    return {"latency_ms": found} if found else {}


def snapshots(medians: Mapping[str, Figures]) -> dict[str, Any]:
    """The member `snapshot`, if the benchmark measures snapshots: rows per second, and processor seconds per million
    rows."""
    found = {
        name: {
            "rate": round(one.snapshot_rate),
            "client": round(one.snapshot_client, 1),
            "broker": round(one.snapshot_broker, 1),
            "postgres": round(one.snapshot_postgres, 1),
        }
        for name, one in medians.items()
        if one.snapshot_rate
    }
    return {"snapshot": found} if found else {}


def snapshot_ratios(medians: Mapping[str, Figures], peers: Iterable[str]) -> dict[str, float]:
    """How many times as fast as a peer Sluice publishes a snapshot, as `snapshot_<peer>`."""
    rates = {name: medians[name].snapshot_rate for name in peers}
    return {f"snapshot_{name}": round(medians[OURS].snapshot_rate / rate, 3) for name, rate in rates.items() if rate}


def client_cpu_ratios(options: Options, medians: Mapping[str, Figures]) -> dict[str, Any]:
    """The member `client_cpu_ratios` of the benchmark of CDC: how many times as much processor time of its own a peer
    needs."""
    ours = medians[OURS].client
    if options.what != "cdc" or not ours:
        return {}
    return {"client_cpu_ratios": {name: round(one.client / ours, 3) for name, one in medians.items() if name != OURS}}


def with_best_forms(ratios: Mapping[str, float], forms: Mapping[str, str]) -> dict[str, float]:
    """Ratios, and for each peer with several forms that of its fastest form. `forms`: the peer of each form."""
    best: dict[str, float] = {}
    for name, ratio in ratios.items():
        if peer := forms.get(name):
            best[peer] = min(ratio, best.get(peer, ratio))
    return {**best, **ratios}


def _rounded(run: Figures) -> dict[str, float]:
    return {name: round(value, 3) for name, value in asdict(run).items()}


def machine() -> dict[str, Any]:
    """The processors, the memory and the operating system."""
    cpu = next((one for one in _lines("/proc/cpuinfo") if one.startswith("model name")), ": unknown")
    memory = next((one for one in _lines("/proc/meminfo") if one.startswith("MemTotal")), "MemTotal: 0 kB")
    return {
        "processors": os.cpu_count(),
        "model": cpu.partition(":")[2].strip(),
        "memory_gib": round(int(memory.split()[1]) / 2**20, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
