"""The command line of `make bench`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from bench.peers import FORMS, PEERS

INPUTS = ("polled", "cdc")
RECORDS = {"cdc": 500_000, "mapper": 200_000, "merger": 100_000, "sink": 200_000, "end_to_end": 60_000}
"""The default of `--n` by benchmark."""
BENCHMARKS = tuple(RECORDS)
END_TO_END_KEYS = 10_000
PHASES = ("snapshot", "catch_up", "latency")
"""The phases of a run of `cdc`."""


@dataclass(frozen=True)
class Options:
    """What to measure.

    `n`: input records of a timed run. `keys`: distinct source keys or entities. `size`: bytes of a raw record, 0 for
    its natural size (about 300). `processes`: of each contestant. `rounds`: timed runs of each contestant. `retries`:
    how often a run is repeated because other processes used the machine meanwhile. `against`: a commit to compare with.
    `peers`: names; None for all. `control`: whether this checkout runs twice. `input`: whether the mapper's raw records
    are those of an API (`polled`) or of a database (`cdc`). `profile`: run this checkout alone and once, and report
    where its processor time goes. `phases`: what a run of `cdc` measures.
    """

    what: str
    n: int
    keys: int
    size: int = 0
    partitions: int = 6
    processes: int = 1
    rounds: int = 3
    retries: int = 1
    against: str | None = None
    peers: tuple[str, ...] | None = None
    control: bool = True
    input: str = "polled"
    profile: bool = False
    phases: tuple[str, ...] = PHASES


def parse(arguments: Sequence[str]) -> Options:
    """The options of a command line. Ends the process with exit code 2 if they are wrong."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measures Sluice's stages and their peers.")
    parser.add_argument("--what", choices=BENCHMARKS, required=True)
    parser.add_argument("--n", type=_count, help="input records of each timed run")
    parser.add_argument("--keys", type=_count, help="distinct keys; merger: entities; cdc: rows of the table")
    parser.add_argument("--size", type=_count_or_zero, default=0, help="bytes of a raw record (default: about 300)")
    parser.add_argument("--partitions", type=_count, default=6)
    parser.add_argument("--processes", type=_count, default=1, help="processes of each contestant")
    parser.add_argument("--rounds", type=_count, default=3)
    parser.add_argument("--retries", type=_count_or_zero, default=1, help="repeats of a run that was disturbed")
    parser.add_argument("--against", metavar="COMMIT", help="measure that commit as well, as `before`")
    parser.add_argument("--peers", help="names of peers, separated by commas; `none` for no peer")
    parser.add_argument("--no-control", dest="control", action="store_false", help="run ours once in each round")
    parser.add_argument("--input", choices=INPUTS, default="polled", help="mapper: which ingress wrote the raw records")
    parser.add_argument("--profile", action="store_true", help="ours alone: where its processor time goes")
    parser.add_argument("--phases", help=f"cdc: what is measured, separated by commas, of {', '.join(PHASES)}")
    given = parser.parse_args(arguments)
    n = given.n or RECORDS[given.what]
    peers = None if given.peers is None else tuple(name for name in given.peers.split(",") if name != "none")
    forms = list(PEERS[given.what])
    known = list(dict.fromkeys([*forms, *(FORMS[name] for name in forms if name in FORMS)]))
    for name in peers or ():
        if name not in known:
            parser.error(f"--peers: no peer {name}; there are {', '.join(known) or 'none'}")
    phases = _phases(parser, given.phases, profile=given.profile)
    return Options(
        what=given.what,
        n=n,
        keys=given.keys or (END_TO_END_KEYS if given.what == "end_to_end" else n),
        size=given.size,
        partitions=given.partitions,
        processes=given.processes,
        rounds=1 if given.profile else given.rounds,
        retries=0 if given.profile else given.retries,
        against=None if given.profile else given.against,
        peers=() if given.profile else peers,
        control=given.control and not given.profile,
        input=given.input,
        profile=given.profile,
        phases=phases,
    )


def _phases(parser: argparse.ArgumentParser, text: str | None, *, profile: bool) -> tuple[str, ...]:
    """The phases of `--phases`, in the order of a run. A profile shows the last start of a stage, so it has one."""
    wanted = ["catch_up"] if text is None and profile else PHASES if text is None else text.split(",")
    for name in wanted:
        if name not in PHASES:
            parser.error(f"--phases: no phase {name}; there are {', '.join(PHASES)}")
    if profile and len(wanted) > 1:
        parser.error("--phases: a profile shows one phase")
    return tuple(name for name in PHASES if name in wanted)


def _count(text: str) -> int:
    number = int(text.replace("_", "").replace(",", ""))
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _count_or_zero(text: str) -> int:
    return 0 if text == "0" else _count(text)
