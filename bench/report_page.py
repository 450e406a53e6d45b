"""The figures of `docs/benchmarks.md`: its curves, profiles and goals, and the lines and charts that show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench.charts import Point, bars, curves
from bench.checkouts import HERE
from bench.options import BENCHMARKS
from bench.rounds import BEFORE, CONTROL, OURS

FOLDER = HERE / "docs" / "benchmarks"
"""The directory of the results (JSON) and the charts (SVG)."""
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
PANELS = ("records/s", "client CPU s per million", "RSS MiB")


class Curve(NamedTuple):
    """A growth curve of one stage. `points`: the load, and the options of the run that measures it. `memory_within`:
    the goal is that the memory of no point differs by more than this part from that of the first; 0 for no goal."""

    name: str
    what: str
    title: str
    x_label: str
    points: Sequence[tuple[int, str]]
    memory_within: float = 0.0


BACKLOGS = (1_000, 10_000, 100_000, 1_000_000, 3_000_000)
CURVES = (
    Curve(
        "cdc_backlog",
        "cdc",
        "ingress-cdc: changes that wait when it starts",
        "changes",
        [(n, f"--n {n} --keys 50_000 --phases catch_up") for n in BACKLOGS],
        memory_within=0.1,
    ),
    Curve(
        "mapper_backlog",
        "mapper",
        "mapper: records that wait when it starts",
        "records",
        [(n, f"--n {n}") for n in (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000)],
    ),
    Curve(
        "mapper_keys",
        "mapper",
        "mapper: distinct keys of 2,000,000 records",
        "keys",
        [(keys, f"--n 2_000_000 --keys {keys}") for keys in (10_000, 100_000, 500_000, 2_000_000)],
    ),
    Curve(
        "mapper_size",
        "mapper",
        "mapper: bytes of a raw record",
        "bytes",
        [
            (300, "--n 200_000"),
            (1_000, "--n 200_000 --size 1_000"),
            (10_000, "--n 40_000 --size 10_000"),
            (100_000, "--n 4_000 --size 100_000"),
        ],
    ),
    Curve(
        "mapper_partitions",
        "mapper",
        "mapper: partitions of its topics",
        "partitions",
        [(count, f"--n 200_000 --partitions {count}") for count in (6, 12, 24, 60)],
    ),
    Curve(
        "mapper_processes",
        "mapper",
        "mapper: processes; RSS of all of them together",
        "processes",
        [(count, f"--n 400_000 --processes {count}") for count in (1, 2)],
    ),
    Curve(
        "merger_keys",
        "merger",
        "merger: entities on disk",
        "entities",
        [(keys, f"--n 20_000 --keys {keys}") for keys in (20_000, 100_000, 500_000, 2_000_000)],
    ),
    Curve(
        "sink_rows",
        "sink",
        "sink-postgres: rows that exist",
        "rows",
        [(keys, f"--n 100_000 --keys {keys}") for keys in (50_000, 200_000, 1_000_000)],
    ),
)


PROFILES = {
    "profile_cdc": ("cdc", "--n 600_000 --keys 50_000"),
    "profile_mapper": ("mapper", "--n 600_000"),
    "profile_merger": ("merger", "--n 300_000"),
    "profile_sink": ("sink", "--n 600_000"),
}
"""The benchmark and the options of each profile."""


class Goal(NamedTuple):
    """A goal of a benchmark. `path`: the members of the result that lead to the figure. `is_most`: the figure may be at
    most `limit`, else it must be at least `limit`."""

    what: str
    text: str
    path: tuple[str, ...]
    limit: float
    is_most: bool = False

    def line(self, found: Mapping[str, Any]) -> str | None:
        """The line of the table of goals; None if the figure was not measured."""
        value: Any = found
        for member in self.path:
            value = value.get(member) if isinstance(value, dict) else None
        if value is None:
            return None
        is_reached = value <= self.limit if self.is_most else value >= self.limit
        sign = "≤" if self.is_most else "≥"
        return f"| {self.text} {sign} {self.limit:g} | {value:g} | {'reached' if is_reached else 'missed'} |"


GOALS = (
    Goal("cdc", "changes/s ÷ Debezium, tuned", ("ratios", "tuned"), 1.5),
    Goal("cdc", "changes/s ÷ Debezium with its default settings", ("ratios", "default"), 2.5),
    Goal("cdc", "rows/s of a snapshot ÷ Debezium, tuned", ("ratios", "snapshot_tuned"), 1.3),
    Goal("cdc", "client CPU of Debezium, tuned ÷ ours", ("client_cpu_ratios", "tuned"), 2),
    Goal("cdc", "RSS of the process, MiB", ("process_rss_mib", OURS), 150, is_most=True),
    Goal("cdc", "first record after the start of the process, s", ("first_result_s", OURS), 1.5, is_most=True),
    Goal("cdc", "latency p99, ms", ("latency_ms", OURS, "p99"), 60, is_most=True),
    Goal("cdc", "processors used at 500 changes/s", ("latency_ms", OURS, "cores"), 0.2, is_most=True),
    Goal("mapper", "rate ÷ Quix Streams", ("ratios", "quix"), 2),
    Goal("mapper", "rate ÷ the bare loop", ("ratios", "bare"), 0.3),
    Goal("mapper", "rate ÷ the older commit", ("ratios", "before"), 12),
    Goal("mapper", "client CPU s per million", ("cpu_s_per_million", OURS, "client"), 30, is_most=True),
    Goal("mapper", "broker CPU s per million", ("cpu_s_per_million", OURS, "broker"), 20, is_most=True),
    Goal("merger", "rate ÷ the older commit", ("ratios", "before"), 12),
    Goal("merger", "restart, s", ("first_result_s", OURS), 5, is_most=True),
    Goal("sink", "rate ÷ Debezium's JDBC sink, the faster form", ("ratios", "jdbc"), 4),
    Goal("sink", "rate ÷ bare COPY and upsert", ("ratios", "upsert"), 0.6),
    Goal("end_to_end", "rate ÷ the older commit", ("ratios", "before"), 8),
    Goal("end_to_end", "latency p50, ms", ("latency_ms", OURS, "p50"), 80, is_most=True),
    Goal("end_to_end", "latency p99, ms", ("latency_ms", OURS, "p99"), 300, is_most=True),
    *(
        Goal(what, "RSS of a process, MiB", ("process_rss_mib", OURS), 200, is_most=True)
        for what in ("mapper", "merger", "sink", "end_to_end")
    ),
)
"""What the stages are meant to reach. The page names the goals that are missed like those that are reached."""


def with_figures(text: str, lines: str) -> str:
    """The page `text` with `lines` in place of the figures between its two marks."""
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{lines}\n{END}{rest.partition(END)[2]}"


def figures(results: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the page's figures. Writes the charts to `FOLDER`. `results`: the stored results by name."""
    for what in BENCHMARKS:
        if what in results:
            yield from section(what, results[what])
    found = [curve for curve in CURVES if curve.name in results]
    if found:
        yield "## Growth"
        yield "Our stage alone, one run a point. The scales of the charts start at zero; the loads are logarithmic."
    for curve in found:
        yield from growth(curve, results[curve.name])
    if any(name in results for name in PROFILES):
        yield "## Where the time goes"
        yield "Processor time of our stage, sampled. The start of the process is left out of the functions' shares."
    for name, (what, _) in PROFILES.items():
        if name in results:
            yield from profile(what, results[name])


def summary(results: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the README's short table. It leaves out older commits of Sluice."""
    yield "| benchmark | ours, records/s | others, records/s | our CPU s per million: client, broker, Postgres |"
    yield "|---|---|---|---|"
    for what in BENCHMARKS:
        if what in results:
            found = results[what]
            others = "; ".join(f"{name} {rate:,}" for name, rate in found["peers"].items() if name != BEFORE)
            cost = found["cpu_s_per_million"][OURS]
            cpu = f"{cost['client']}, {cost['broker']}, {cost['postgres']}"
            yield f"| `{what}` | {found['ours']:,} | {others or 'none'} | {cpu} |"
    for what, of in (("cdc", "from commit to topic"), ("end_to_end", "from commit to golden row")):
        yield from latency_line(results.get(what, {}).get("latency_ms"), of)


def latency_line(latency: Mapping[str, Any] | None, of: str) -> Iterator[str]:
    """A line about the latencies of a benchmark, if it has any. `of`: from where to where."""
    if latency:
        times = "; ".join(
            f"{name} {one['p50']:.0f}, {one['p99']:.0f}"
            for name, one in latency.items()
            if name not in (CONTROL, BEFORE)
        )
        yield ""
        yield f"Latency {of} at 500 changes a second, p50 and p99 in ms: {times}."


def section(what: str, found: Mapping[str, Any]) -> Iterator[str]:
    """The lines about one benchmark."""
    rates = {OURS: found["ours"], **found["peers"]}
    (FOLDER / f"{what}.svg").write_text(bars(f"{what}: records per second", rates, [OURS]))
    options = found["options"]
    machine = found["machine"]
    yield f"## {what}"
    yield f"![{what}: records per second](benchmarks/{what}.svg)"
    yield ""
    yield "| | records/s | ours is × | client CPU s per million | broker | Postgres | RSS MiB | others used |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in found["cpu_s_per_million"]:
        yield row(name, found)
    if "snapshot" in found:
        yield from snapshot(found)
    if "latency_ms" in found:
        yield ""
        yield "| | p50 ms | p99 ms | changes/s | processors used |"
        yield "|---|---|---|---|---|"
        for name, one in found["latency_ms"].items():
            yield f"| {name} | {one['p50']} | {one['p99']} | {one['changes_per_s']} | {one.get('cores', '')} |"
    lines = [line for goal in GOALS if goal.what == what and (line := goal.line(found))]
    if lines:
        yield from ["", "| goal | measured | |", "|---|---|---|", *lines]
    yield ""
    yield (
        f"{found['date']}, {machine['processors']} × {machine['model']}, {machine['memory_gib']} GiB, "
        f"{machine['system']}; {found['servers']}. {options['rounds']} round(s) of {options['n']:,} records, "
        f"{options['keys']:,} keys, {options['partitions']} partitions, {options['processes']} process(es). Versions: "
        + ", ".join(f"{name} {version}" for name, version in found["versions"].items())
        + "."
    )
    yield ""


def snapshot(found: Mapping[str, Any]) -> Iterator[str]:
    """The table of the snapshots of a benchmark, with the time to the first record of a start with a backlog."""
    yield ""
    yield "| | snapshot, rows/s | ours is × | client CPU s per million | broker | Postgres | first record s |"
    yield "|---|---|---|---|---|---|---|"
    ours = found["snapshot"][OURS]["rate"]
    for name, one in found["snapshot"].items():
        ratio = "" if name == OURS else f"{ours / one['rate']:.2f}"
        first = found["first_result_s"][name]
        yield (
            f"| {name} | {one['rate']:,} | {ratio} | {one['client']} | {one['broker']} | {one['postgres']} | {first} |"
        )


def row(name: str, found: Mapping[str, Any]) -> str:
    """The line of a contestant in the table of a benchmark."""
    cpu = found["cpu_s_per_million"][name]
    control = found.get("control") or {}
    rate = {OURS: found["ours"], CONTROL: control.get("rate"), **found["peers"]}[name]
    ratio = {OURS: None, CONTROL: control.get("ratio"), **found["ratios"]}[name]
    return (
        f"| {name} | {rate:,} | {'' if ratio is None else f'{ratio:.2f}'} | {cpu['client']} "
        f"| {cpu['broker']} | {cpu['postgres']} | {found['rss_mib'][name]} | {found['other'][name]:.0%} |"
    )


def growth(curve: Curve, found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The lines about one curve."""
    points = [Point(one["load"], (one["rate"], one["client"], one["rss_mib"])) for one in found]
    (FOLDER / f"{curve.name}.svg").write_text(curves(curve.title, curve.x_label, PANELS, points))
    yield ""
    yield f"![{curve.title}](benchmarks/{curve.name}.svg)"
    yield ""
    yield f"| {curve.x_label} | records/s | client CPU s per million | broker | Postgres | RSS MiB | first result s |"
    yield "|---|---|---|---|---|---|---|"
    for one in found:
        yield (
            f"| {one['load']:,} | {one['rate']:,} | {one['client']} | {one['broker']} | {one['postgres']} "
            f"| {one['rss_mib']} | {one['first_result_s']} |"
        )
    if curve.memory_within:
        yield from ["", memory_goal(curve, [one["rss_mib"] for one in found])]


def memory_goal(curve: Curve, rss_mib: Sequence[float]) -> str:
    """Whether the memory of every point of a curve is near that of the first."""
    most = max(abs(one / rss_mib[0] - 1) for one in rss_mib)
    verdict = "reached" if most <= curve.memory_within else "missed"
    goal = f"the RSS of no point differs by more than {curve.memory_within:.0%} from that of the first"
    return f"Goal: {goal}; it differs by {most:.0%}: {verdict}."


def profile(what: str, found: Mapping[str, Any]) -> Iterator[str]:
    """The lines about one profile."""
    ours = found["profile"][OURS]
    yield f"### {what}"
    threads = ", ".join(f"`{name}` {seconds:g}" for name, seconds in ours["threads_cpu_s"].items())
    yield f"Processor seconds by thread, {found['options']['n']:,} records: {threads}."
    yield ""
    yield "| function, with the libraries that it calls | share |"
    yield "|---|---|"
    for one in ours["functions"]:
        yield f"| `{one['function']}` | {one['share']:.1%} |"
    yield ""
