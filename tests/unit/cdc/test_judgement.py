"""What becomes of a table when the source shows something else than its records were made from: two tables."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from sluice.cdc.pgoutput import Column, Relation
from sluice.cdc.slot_watermark import TableMark
from sluice.cdc.table_facts import (
    BoundColumn,
    BoundLeaf,
    ColumnFacts,
    Leaf,
    PublicationFacts,
    TableFacts,
    bound_to,
)
from sluice_ingress_cdc.fitness import unfit
from sluice_ingress_cdc.judgement import (
    Action,
    Seen,
    Verdict,
    before_the_log,
    doubtful_columns,
    first_seen,
    judge,
    judge_relation,
    not_yet_bound,
)

V18, V17 = 180_006, 170_010
TEXT, VARCHAR, INT4, INT8 = 25, 1043, 23, 20


def column(number: int, name: str, type_oid: int = TEXT, **more: object) -> ColumnFacts:
    return ColumnFacts(number, name, type_oid, -1, 900, False, False)._replace(**more)  # type: ignore[arg-type]


COLUMNS = (column(1, "id", INT4), column(2, "notes"), column(3, "other"), column(4, "n", INT4))
FACTS = TableFacts(
    schema="public",
    table="t",
    oid=7,
    kind="r",
    persistence="p",
    identity="d",
    filenode=7,
    identity_columns=("id",),
    primary_key=("id",),
    key_immediate=True,
    columns=COLUMNS,
    leaves=(),
    membership=("table 12",),
    published=("id", "notes", "other", "n"),
    row_filter=None,
    filter_columns=(),
    xid=1_000,
)
PUBLICATION = PublicationFacts(11, 900, whole=True, via_root=True)
BOUND = bound_to(FACTS, PUBLICATION, "topic")
SEEN = Seen(BOUND, FACTS, PUBLICATION, "topic", V18)
LEAF = Leaf(8, "public", "t_1", "r", "p", "d", 8, 960, 950, ("id",))
PARTITIONED = FACTS._replace(kind="p", filenode=0, leaves=(LEAF,))
WITH_GENERATED = (*COLUMNS, column(5, "twice", generated=True))


def columns(*made: ColumnFacts, filenode: int = 7) -> TableFacts:
    return FACTS._replace(columns=made, published=tuple(c.name for c in made), filenode=filenode)


@dataclass(frozen=True)
class Case:
    facts: TableFacts | None
    action: Action
    says: str = ""
    publication: PublicationFacts = PUBLICATION
    topic_id: str = "topic"
    called_now: str | None = None


ID, NOTES, OTHER, N = COLUMNS
CASES = {
    "nothing changed": Case(FACTS, Action.GO_ON),
    "a column that holds nothing yet": Case(columns(*COLUMNS, column(5, "new")), Action.GO_ON),
    "text became varchar": Case(columns(ID, column(2, "notes", VARCHAR, typmod=44), OTHER, N), Action.GO_ON),
    "VACUUM FULL": Case(FACTS._replace(filenode=70), Action.GO_ON),
    "SET STATISTICS": Case(columns(ID, column(2, "notes", version=950), OTHER, N), Action.GO_ON),
    "dropped": Case(None, Action.HOLD, "does not exist any more"),
    "renamed": Case(None, Action.HOLD, "called public.t_old now", called_now="public.t_old"),
    "swapped by rename": Case(
        FACTS._replace(oid=70), Action.HOLD, "another table has its name now.*public.t_old", called_now="public.t_old"
    ),
    "identity nothing": Case(FACTS._replace(identity="n", identity_columns=()), Action.HOLD, "NOTHING"),
    "taken out of the publication": Case(FACTS._replace(published=None, membership=()), Action.HOLD, "lacks it"),
    "raw topic made again": Case(FACTS, Action.HOLD, "raw topic", topic_id="other"),
    "another primary key": Case(
        FACTS._replace(primary_key=("n",), identity_columns=("n",)), Action.HOLD, r"is \(n\), and was \(id\)"
    ),
    "the key in another order": Case(
        FACTS._replace(primary_key=("n", "id"), identity_columns=("id", "n")), Action.HOLD, r"is \(n, id\)"
    ),
    "out of the publication and back": Case(FACTS._replace(membership=("table 13",)), Action.SAY, "put back"),
    "publication made again": Case(FACTS, Action.SAY, "made again", PUBLICATION._replace(oid=12)),
    "publication altered and altered back": Case(FACTS, Action.SAY, "altered", PUBLICATION._replace(version=901)),
    "column dropped": Case(columns(ID, OTHER, N), Action.SAY, "column notes was dropped"),
    "column renamed": Case(columns(ID, column(2, "remarks"), OTHER, N), Action.SAY, "notes is called remarks now"),
    "two columns swapped their names": Case(
        columns(ID, column(2, "other"), column(3, "notes"), N),
        Action.SAY,
        "notes is called other now; column other is called notes now",
    ),
    "dropped and made again under its name": Case(
        columns(ID, OTHER, N, column(5, "notes")), Action.SAY, "column notes was dropped"
    ),
    "not published any more": Case(
        FACTS._replace(published=("id", "other", "n")), Action.SAY, "notes is not published any more"
    ),
    "another type": Case(columns(ID, NOTES, OTHER, column(4, "n", INT8)), Action.SAY, "column n changed its type"),
    "rows rewritten with USING": Case(
        columns(ID, NOTES, OTHER, column(4, "n", INT4, version=950), filenode=70), Action.SAY, "n was altered"
    ),
    "a column with a default": Case(columns(*COLUMNS, column(5, "new", filled=True)), Action.SAY, "new was added"),
    "a column whose default made a rewrite and went": Case(
        columns(*COLUMNS, column(5, "new"), filenode=70), Action.SAY, "new was added"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_look_at_the_source_decides_what_becomes_of_the_table(case: Case) -> None:
    verdict = judge(SEEN._replace(**{k: v for k, v in vars(case).items() if k in Seen._fields}))
    assert verdict.action is case.action
    if case.says:
        assert re.search(case.says, verdict.why), verdict.why
    assert (verdict.bound is not None) == (case.action is Action.GO_ON)


@pytest.mark.parametrize("called_now", [None, "public.t_old"])
def test_nobody_is_told_to_make_an_empty_table_in_place_of_one_that_is_gone(called_now: str | None) -> None:
    """Read anew, it would be one whose rows were all deleted."""
    verdict = judge(SEEN._replace(facts=None, called_now=called_now))
    assert "create" not in verdict.mend
    assert verdict.mend.startswith(f"give {called_now} its name back" if called_now else "restore it with its rows")


A, B, X = "label 70 900", "label 71 900", "label 70 950"
PAIR, PAIR_WITHOUT = ("attribute 80 1 23", "attribute 80 2 25"), ("attribute 80 1 23", "attribute 80 2 0")


@pytest.mark.parametrize(
    ("name", "was", "now", "action"),
    [
        ("notes", (A, B), (A, B), Action.GO_ON),
        ("notes", (A,), (A, B), Action.GO_ON),
        ("notes", (A, B), (B, X), Action.SAY),
        ("notes", PAIR, PAIR_WITHOUT, Action.SAY),
        ("notes", PAIR, (*PAIR, "attribute 80 3 23"), Action.SAY),
        ("id", (A, B), (B, X), Action.HOLD),
        ("id", (A,), (A, B), Action.GO_ON),
        ("notes", None, (A, B), Action.GO_ON),
        ("id", None, PAIR, Action.GO_ON),
    ],
)
def test_a_type_whose_values_read_otherwise_is_told_and_a_new_label_is_not(
    name: str, was: tuple[str, ...] | None, now: tuple[str, ...], action: Action
) -> None:
    bound = BOUND._replace(columns=tuple(c._replace(spelling=was) if c.name == name else c for c in BOUND.columns))
    facts = columns(*(c._replace(spelling=now) if c.name == name else c for c in COLUMNS))
    verdict = judge(SEEN._replace(bound=bound, facts=facts))
    assert verdict.action is action
    assert action is Action.GO_ON or f"column {name}" in verdict.why
    assert doubtful_columns(bound, facts) == (set() if action is Action.GO_ON else {name})
    if verdict.bound is not None:
        assert now in [c.spelling for c in verdict.bound.columns]


def test_an_unpublished_generated_column_is_no_news() -> None:
    facts = FACTS._replace(columns=(*COLUMNS, column(5, "twice", generated=True, filled=True)))
    assert judge(SEEN._replace(facts=facts)).action is Action.GO_ON


@pytest.mark.parametrize(
    ("facts", "filled", "emptied", "says"),
    [
        (PARTITIONED._replace(leaves=()), (), (), "1 partition was detached or dropped"),
        (PARTITIONED._replace(leaves=(LEAF, LEAF._replace(oid=9, table="t_2"))), (9,), (), "t_2 was attached with"),
        (PARTITIONED._replace(leaves=(LEAF, LEAF._replace(oid=9, table="t_2"))), (), (), ""),
        (PARTITIONED._replace(leaves=(LEAF._replace(filenode=80),)), (), (8,), "t_1 was truncated or rewritten"),
        (PARTITIONED._replace(leaves=(LEAF._replace(filenode=80),)), (), (), ""),
        (PARTITIONED._replace(leaves=(LEAF._replace(attached=951),)), (), (), "t_1 was detached and attached again"),
    ],
)
def test_a_change_of_partitions_is_told_where_rows_came_or_went_without_an_event(
    facts: TableFacts, filled: tuple[int, ...], emptied: tuple[int, ...], says: str
) -> None:
    bound = bound_to(PARTITIONED, PUBLICATION, "topic")
    gone = dict.fromkeys(emptied, 1_001)
    verdict = judge(SEEN._replace(bound=bound, facts=facts, filled=frozenset(filled), emptied=gone))
    assert verdict.action is (Action.SAY if says else Action.GO_ON)
    assert says in verdict.why


def test_an_empty_new_partition_is_looked_at_once() -> None:
    more = PARTITIONED._replace(leaves=(LEAF, LEAF._replace(oid=9, table="t_2")))
    verdict = judge(SEEN._replace(bound=bound_to(PARTITIONED, PUBLICATION, "topic"), facts=more))
    assert verdict.bound is not None
    assert set(verdict.bound.leaves) == {8, 9}


def test_a_watermark_of_an_older_version_is_bound_anew_without_a_fault() -> None:
    facts = PARTITIONED._replace(columns=(ID, NOTES._replace(spelling=(A, B)), OTHER, N))
    older = [
        "topic", 7, ["id"], [[1, "id", 23, -1, 900], [2, "notes", 25, -1, 900], [3, "other", 25, -1, 900],
        [4, "n", 23, -1, 900]], 0, [[8, 8]], ["table 12"], [11, 900], 1_000,
    ]  # fmt: skip
    plain = {"state": "followed", "since_lsn": 5, "request": 0, "why": "", "next_step": "", "fault_at": 0}
    bound = TableMark.from_json({"v": 1, **plain, "bound": older}).bound
    assert bound is not None
    assert (bound.columns[1], bound.leaves[8]) == (BoundColumn(2, "notes", TEXT, -1, 900), BoundLeaf(8))
    verdict = judge(SEEN._replace(bound=bound, facts=facts))
    assert verdict == Verdict(Action.GO_ON, bound=bound_to(facts, PUBLICATION, "topic"))


@pytest.mark.parametrize(
    ("truncations", "caught_up", "left", "waits"),
    [
        (set(), False, {}, True),
        (set(), True, {8: 1_001}, False),
        ({1_001}, False, {}, False),
        ({1_001}, True, {}, False),
        ({1_000}, True, {8: 1_001}, False),
    ],
)
def test_an_emptied_partition_is_judged_once_the_log_can_tell_whether_the_whole_table_was_truncated(
    truncations: set[int], caught_up: bool, left: dict[int, int], waits: bool
) -> None:
    seen = SEEN._replace(facts=PARTITIONED, emptied={8: 1_001})
    known, waiting = before_the_log(seen, truncations, caught_up=caught_up)
    assert (known.emptied, waiting) == (left, waits)


@pytest.mark.parametrize(
    ("truncations", "caught_up", "facts", "action", "waits"),
    [
        (set(), False, FACTS, Action.GO_ON, True),
        (set(), True, FACTS, Action.SAY, False),
        ({1_000}, True, FACTS, Action.GO_ON, False),
        ({1_007}, False, FACTS, Action.GO_ON, False),
        ({999}, True, FACTS, Action.SAY, False),  # the one that was before the table was bound
        (
            set(),
            True,
            FACTS._replace(columns=(*COLUMNS, column(5, "twice", generated=True, version=1_003))),
            Action.GO_ON,
            False,
        ),
        (set(), True, FACTS._replace(columns=WITH_GENERATED), Action.SAY, False),
        ({1_007}, True, FACTS._replace(toast=20), Action.GO_ON, False),
        ({1_007}, True, FACTS._replace(toast=21), Action.SAY, False),
    ],
)
def test_rows_that_are_all_younger_were_truncated_or_rewritten_and_the_log_tells_which(
    truncations: set[int], caught_up: bool, facts: TableFacts, action: Action, waits: bool
) -> None:
    bound = BOUND._replace(toast=20)
    seen = SEEN._replace(bound=bound, facts=facts._replace(filenode=70), refilled=True)
    known, waiting = before_the_log(seen, truncations, caught_up=caught_up)
    verdict = judge(known)
    assert (verdict.action, waiting) == (action, waits)
    assert action is Action.GO_ON or "its rows were rewritten" in verdict.why


def test_a_suspicion_counts_from_where_it_was_seen_first_and_another_one_from_where_it_is_seen_now() -> None:
    emptied = SEEN._replace(facts=PARTITIONED, emptied={8: 1_001})
    first = first_seen(emptied.suspicions, {}, 50)
    assert first == {(8, 1_001): 50}
    again = emptied._replace(emptied={8: 1_001, 9: 1_002})
    assert first_seen(again.suspicions, first, 60) == {(8, 1_001): 50, (9, 1_002): 60}
    emptied_once_more = emptied._replace(emptied={8: 1_003})
    assert first_seen(emptied_once_more.suspicions, first, 70) == {(8, 1_003): 70}
    rewritten = SEEN._replace(facts=FACTS._replace(filenode=70), refilled=True)
    assert first_seen(rewritten.suspicions, {}, 80) == {(7, 70): 80}
    assert first_seen(SEEN.suspicions, first, 90) == {}


def test_of_truncations_those_are_kept_that_a_look_may_not_have_seen() -> None:
    assert not_yet_bound((BOUND.xid - 1, BOUND.xid, BOUND.xid + 5), BOUND) == (BOUND.xid, BOUND.xid + 5)


# ── the log's own word ────────────────────────────────────────────────────────────────────────────────────────────


def relation(names: str, key: str = "id", identity: str = "d", **types: int) -> Relation:
    known = {"id": INT4, "n": INT4, **types}
    made = [Column(n, known.get(n, TEXT), -1, identity == "f" or n in key.split()) for n in names.split()]
    return Relation(7, "public", "t", identity, tuple(made))


@pytest.mark.parametrize(
    ("told", "action"),
    [
        (relation("id notes other n"), Action.GO_ON),
        (relation("id notes other n new"), Action.GO_ON),
        (relation("id notes other n", notes=VARCHAR), Action.GO_ON),
        (relation("id notes other n", identity="f"), Action.GO_ON),
        (relation("id notes other n", "id n", identity="i"), Action.GO_ON),
        (relation("id notes other"), Action.GO_ON),  # the catalogs showed a column before the log came to it
        (relation("id other notes n"), Action.SAY),
        (relation("id other n notes"), Action.SAY),
        (relation("id remarks other n"), Action.SAY),
        (relation("id notes other n", n=INT8), Action.SAY),
        (relation("id notes other n", "n"), Action.HOLD),
        (relation("id notes other n", "id n"), Action.HOLD),
        (relation("id notes other n", "", identity="n"), Action.HOLD),
        (relation("id notes other n", "n", identity="i"), Action.HOLD),
    ],
)
def test_a_shape_that_the_log_tells_is_judged_though_no_catalog_shows_it_any_more(
    told: Relation, action: Action
) -> None:
    assert judge_relation(BOUND, told).action is action


@pytest.mark.parametrize(
    ("facts", "doubtful"),
    [
        (FACTS, set()),
        (columns(ID, column(2, "other"), column(3, "notes"), N), {"notes", "other"}),
        (columns(ID, OTHER, N, column(5, "notes")), {"notes"}),
        (columns(ID, column(2, "remarks"), OTHER, N), {"remarks"}),
        (columns(ID, NOTES, OTHER, column(4, "n", INT8)), {"n"}),
        (columns(ID, column(2, "notes", version=950), OTHER, N, filenode=70), {"notes"}),
        (columns(ID, column(2, "notes", version=950), OTHER, N), set()),
    ],
)
def test_a_column_is_in_doubt_where_its_name_meant_another_or_its_values_were_rewritten(
    facts: TableFacts, doubtful: set[str]
) -> None:
    assert doubtful_columns(BOUND, facts) == doubtful


# ── fitness ───────────────────────────────────────────────────────────────────────────────────────────────────────

UNFIT = {
    "a view": (FACTS._replace(kind="v"), V18, "view", False),
    "no primary key": (FACTS._replace(primary_key=(), identity_columns=()), V18, "no primary key", True),
    "no primary key, and full": (FACTS._replace(primary_key=(), identity="f"), V18, "no primary key", False),
    "unlogged": (FACTS._replace(persistence="u"), V18, "unlogged", False),
    "identity nothing": (FACTS._replace(identity="n", identity_columns=()), V18, "NOTHING", True),
    "a dropped identity index": (FACTS._replace(identity="i", identity_columns=()), V18, "index.*gone", True),
    "a deferrable primary key": (FACTS._replace(identity_columns=(), key_immediate=False), V18, "DEFERRABLE", True),
    "an identity without the key": (FACTS._replace(identity="i", identity_columns=("n",)), V18, "does not hold", False),
    "full with a generated column": (
        FACTS._replace(identity="f", columns=WITH_GENERATED, identity_columns=("id", "notes", "other", "n", "twice")),
        V18,
        "twice, which is not published",
        True,
    ),
    "a column list without the identity": (
        FACTS._replace(identity="f", identity_columns=("id", "notes", "other", "n"), published=("id", "n")),
        V17,
        "notes, which is not published",
        True,
    ),
    "a generated primary key": (
        FACTS._replace(
            columns=WITH_GENERATED, primary_key=("twice",), identity_columns=("twice",), published=("id", "n")
        ),
        V17,
        "twice is not published",
        False,
    ),
    "a row filter outside of the identity": (
        FACTS._replace(row_filter="(n > 3)", filter_columns=("n",)),
        V17,
        "row filter uses column n",
        True,
    ),
    "a partition with identity nothing": (
        PARTITIONED._replace(leaves=(LEAF._replace(identity="n", identity_columns=()),)),
        V18,
        "NOTHING.*t_1",
        True,
    ),
    "a partitioned table without identity of its own": (
        PARTITIONED._replace(identity="n", identity_columns=()),
        V18,
        "does not hold the primary key",
        False,
    ),
    "a partition with another identity": (
        PARTITIONED._replace(leaves=(LEAF._replace(identity="i", identity_columns=("n",)),)),
        V18,
        "partition public.t_1",
        False,
    ),
    "a foreign partition": (PARTITIONED._replace(leaves=(LEAF._replace(kind="f"),)), V18, "foreign table", False),
    "an unlogged partition": (PARTITIONED._replace(leaves=(LEAF._replace(persistence="u"),)), V18, "unlogged", False),
}


@pytest.mark.parametrize(("facts", "version", "says", "breaks_writes"), UNFIT.values(), ids=UNFIT.keys())
def test_a_table_that_cannot_be_followed_is_known_before_it_is_published(
    facts: TableFacts, version: int, says: str, breaks_writes: bool
) -> None:
    wrong = unfit(facts, version)
    assert wrong is not None
    assert re.search(says, wrong.why), wrong.why
    assert wrong.breaks_writes == breaks_writes
    assert wrong.next_step


@pytest.mark.parametrize(
    ("facts", "version"),
    [
        (FACTS, V18),
        (PARTITIONED, V18),
        (FACTS._replace(published=None, membership=()), V18),
        (FACTS._replace(identity="f", identity_columns=("id", "notes", "other", "n")), V18),
        (FACTS._replace(identity="i", identity_columns=("id", "n")), V18),
        (FACTS._replace(identity="f", identity_columns=("id", "notes", "other", "n"), key_immediate=False), V18),
        (FACTS._replace(row_filter="(id > 3)", filter_columns=("id",)), V18),
        (
            FACTS._replace(
                identity="f", columns=WITH_GENERATED, identity_columns=("id", "notes", "other", "n", "twice")
            ),
            V17,
        ),
    ],
)
def test_a_table_that_is_fit_is_followed(facts: TableFacts, version: int) -> None:
    assert unfit(facts, version) is None
