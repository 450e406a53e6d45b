"""`make bench-report`: runs the benchmarks and the growth curves, and writes their figures to `docs/benchmarks.md`.

The results are kept as JSON in `docs/benchmarks/`, so that a part can be measured again alone:
`make bench-report ARGS="--only sink"`. With `--only none`, the page is only written again. A whole report takes hours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from bench.checkouts import HERE
from bench.options import BENCHMARKS
from bench.report_page import CURVES, FOLDER, PROFILES, Curve, figures, with_figures
from bench.rounds import OURS

PAGE = HERE / "docs" / "benchmarks.md"


def main() -> int:
    names = [*BENCHMARKS, *(curve.name for curve in CURVES), *PROFILES]
    parser = argparse.ArgumentParser(prog="make bench-report", description="Measures, and writes docs/benchmarks.md.")
    parser.add_argument("--only", help=f"parts, separated by commas, of: {', '.join(names)}; `none` to measure nothing")
    parser.add_argument("--against", metavar="COMMIT", help="measure that commit as well, as `before`")
    given = parser.parse_args()
    wanted = names if given.only is None else [one for one in given.only.split(",") if one != "none"]
    for name in wanted:
        if name not in names:
            parser.error(f"--only: no part {name}; there are {', '.join(names)}")
    FOLDER.mkdir(exist_ok=True)
    for what in [one for one in BENCHMARKS if one in wanted]:
        store(what, measured(what, ["--against", given.against] if given.against else []))
    for curve in [one for one in CURVES if one.name in wanted]:
        store(curve.name, [point(curve, *one) for one in curve.points])
    for name in [one for one in PROFILES if one in wanted]:
        what, arguments = PROFILES[name]
        store(name, measured(what, ["--profile", *arguments.split()]))
    PAGE.write_text(with_figures(PAGE.read_text(), "\n".join(figures(stored()))))
    return 0


def measured(what: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The result of a benchmark. Raises CalledProcessError if it fails."""
    command = [sys.executable, "-m", "bench", "--what", what, *arguments]
    print(" ".join(command[1:]), file=sys.stderr, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=HERE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def point(curve: Curve, load: int, arguments: str) -> dict[str, Any]:
    """The figures of one point of a curve: our stage alone, in one run."""
    alone = [*arguments.split(), "--rounds", "1", "--peers", "none", "--no-control"]
    found = measured(curve.what, alone)
    return {
        "load": load,
        "options": arguments,
        "rate": found["ours"],
        **found["cpu_s_per_million"][OURS],
        "rss_mib": found["rss_mib"][OURS],
        "first_result_s": found["first_result_s"][OURS],
        "other": found["other"][OURS],
        "sluice": found["versions"]["sluice"],
        "date": found["date"],
    }


def store(name: str, found: Any) -> None:
    """Store the result of a part as JSON."""
    (FOLDER / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


def stored() -> dict[str, Any]:
    """The results that were stored, by name."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}


if __name__ == "__main__":
    sys.exit(main())
