"""`make bench-report`: runs the benchmarks, the growth curves and the profiles, and writes their figures to
`docs/benchmarks.md` and a short table to the README.

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
from bench.report_page import CURVES, FOLDER, PROFILES, Curve, figures, summary, with_figures
from bench.rounds import OURS

PAGE = HERE / "docs" / "benchmarks.md"
README = HERE / "README.md"
OPTIONS = {"merger": ["--n", "200_000", "--keys", "1_000_000"]}
"""The options of a benchmark whose defaults are too small to answer its question: a merger with a large state."""


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
    failed = []
    for name in [one for one in names if one in wanted]:
        try:
            store(name, part(name, given.against))
        except subprocess.CalledProcessError:  # its older result stays
            failed.append(name)
    PAGE.write_text(with_figures(PAGE.read_text(), "\n".join(figures(stored()))))
    README.write_text(with_figures(README.read_text(), "\n".join(summary(stored()))))
    if failed:
        again = f'make bench-report ARGS="--only {",".join(failed)}"'
        print(
            f"bench-report: not measured: {', '.join(failed)}. Next: read the reason above, then {again}",
            file=sys.stderr,
        )
    return 1 if failed else 0


def part(name: str, against: str | None) -> Any:
    """Measure a part of the report: a benchmark, a profile or a curve. Blocks for minutes to hours. Raises
    CalledProcessError if a run fails."""
    if name in BENCHMARKS:
        return measured(name, [*OPTIONS.get(name, ()), *(["--against", against] if against else [])])
    if name in PROFILES:
        what, arguments = PROFILES[name]
        return measured(what, ["--profile", *arguments.split()])
    curve = next(one for one in CURVES if one.name == name)
    return [point(curve, *one) for one in curve.points]


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
