"""`make bench ARGS=--profile`: where the stage's processor time goes, by thread and by function.

py-spy samples the Python threads. The threads of librdkafka and RocksDB are not Python's, so their time is read from
`/proc`. A profile covers the whole life of the process, so its start counts, too: use a large `--n`. The sampled
process is slower, so the rates of such a run mean nothing.
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.cache import python_environment
from bench.contestant import Job
from bench.sluice_stage import SluiceStages
from bench.usage import threads_cpu_s
from sluice.embedded.fetching import Progress

REQUIREMENTS = ("py-spy==0.4.1",)
SAMPLES_PER_S = 200
THREADS_EVERY_S = 0.25
LOOP = re.compile(
    r"\b_turn \([^;]*(sluice/stage/loop|sluice_ingress_cdc/stream)\.py:\d+\);"
    r"|\b(publish|_read) \([^;]*sluice_ingress_cdc/(publisher|reader_thread)\.py:\d+\);"
)
"""Only samples below one of these frames count as work of the loop. The others are the start of the process and idle
threads."""
LINES_MAX = 20
OWN = re.compile(r"\(((\S*/)?(sluice\w*|sources|entities)/|<)(?!frozen)")
"""Frames of this project and of the author's files. Time of a library counts for the own function that called it."""


class ProfiledStages(SluiceStages):
    """The stages of this checkout, and for each of their processes a py-spy that ends with it."""

    _samplers: Sequence[ProcessSampler] = ()

    def build(self, progress: Progress) -> Mapping[str, str]:
        self._py_spy = python_environment("profile", REQUIREMENTS, progress).parent / "py-spy"
        return dict(one.split("==") for one in REQUIREMENTS)

    def _spawned(self, job: Job) -> list[subprocess.Popen[bytes]]:
        processes = super()._spawned(job)
        self._samplers = [ProcessSampler(self._py_spy, one.pid, job.folder / f"profile-{one.pid}") for one in processes]
        return processes

    def profile(self) -> dict[str, Any]:
        """The profile of the processes of the last start, which have ended. Blocks until py-spy has ended, too."""
        found = [one.result() for one in self._samplers]
        threads: dict[str, float] = defaultdict(float)
        stacks: Counter[str] = Counter()
        for threads_of_one, stacks_of_one in found:
            for (_, name), seconds in threads_of_one.items():
                threads[name] += seconds
            stacks.update(stacks_of_one)
        return {
            "threads_cpu_s": {name: round(s, 2) for name, s in sorted(threads.items(), key=lambda one: -one[1])},
            "functions": functions(stacks),
        }


class ProcessSampler:
    """Samples one process until it ends: its stacks (py-spy writes them to `file`) and the time of its threads."""

    def __init__(self, py_spy: Path, pid: int, file: Path) -> None:
        self._pid, self._file = pid, file
        argv = [str(py_spy), "record", "--pid", str(pid), "--rate", str(SAMPLES_PER_S), "--function", "--format", "raw"]
        self._process = subprocess.Popen(
            [*argv, "--output", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._threads: dict[tuple[int, str], float] = {}
        self._stacks: Counter[str] = Counter()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            self._threads |= threads_cpu_s(self._pid)
            try:
                self._process.wait(THREADS_EVERY_S)
            except subprocess.TimeoutExpired:
                continue
            break
        self._stacks = parsed(self._file.read_text().splitlines())

    def result(self) -> tuple[Mapping[tuple[int, str], float], Mapping[str, int]]:
        """Processor seconds by id and name of the thread, and the number of samples by stack."""
        self._reader.join(60)
        return self._threads, self._stacks


def functions(stacks: Mapping[str, int]) -> list[dict[str, Any]]:
    """The functions of this project and of the author with the most samples below the loop. `share`: the part of all
    samples of the loop in the function itself and in the libraries that it calls."""
    found: Counter[str] = Counter()
    for stack, samples in stacks.items():
        if loop := LOOP.search(stack):
            frames = stack[loop.end() :].split(";")
            own = next((frame for frame in reversed(frames) if OWN.search(frame)), frames[0])
            found[own.rpartition(":")[0] + ")"] += samples
    total = found.total()
    return [{"function": frame, "share": round(n / total, 3)} for frame, n in found.most_common(LINES_MAX)]


def parsed(lines: Iterable[str]) -> Counter[str]:
    """The samples by stack, from lines of py-spy: the frames with `;` between them, a blank, the number of samples."""
    found: Counter[str] = Counter()
    for line in lines:
        stack, _, samples = line.rpartition(" ")
        found[stack] += int(samples)
    return found
