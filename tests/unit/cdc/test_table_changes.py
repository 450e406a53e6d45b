"""What becomes of a table when the source shows other facts than its records were made from."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from sluice.cdc.pgoutput import Relation, RelationColumn
from sluice.cdc.table_facts import (
    BoundColumn,
    BoundLeaf,
    ColumnFacts,
    LeafPartition,
    PublicationFacts,
    TableFacts,
    binding_of,
)
from sluice.cdc.watermarks import TableWatermark
from sluice_ingress_cdc.eligibility import ineligibility
from sluice_ingress_cdc.table_changes import (
    TableCheck,
    TableOutcome,
    TableVerdict,
    columns_to_reread,
    explain_by_log,
    first_found_at,
    relation_verdict,
    table_verdict,
    truncations_since,
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
    server_version=V18,
)
PUBLICATION = PublicationFacts(11, 900, publishes_all=True, via_root=True)
BOUND = binding_of(FACTS, PUBLICATION, "topic")
CHECK = TableCheck(BOUND, FACTS, PUBLICATION, "topic")
LEAF = LeafPartition(8, "public", "t_1", "r", "p", "d", 8, 960, 950, ("id",))
PARTITIONED = FACTS._replace(kind="p", filenode=0, leaves=(LEAF,))
WITH_GENERATED = (*COLUMNS, column(5, "twice", generated=True))


def columns(*columns: ColumnFacts, filenode: int = 7) -> TableFacts:
    return FACTS._replace(columns=columns, published=tuple(c.name for c in columns), filenode=filenode)


@dataclass(frozen=True)
class Case:
    facts: TableFacts | None
    outcome: TableOutcome
    says: str = ""
    publication: PublicationFacts = PUBLICATION
    topic_id: str = "topic"
    current_name: str | None = None


ID, NOTES, OTHER, N = COLUMNS
CASES = {
    "nothing changed": Case(FACTS, TableOutcome.FOLLOW),
    "an empty column": Case(columns(*COLUMNS, column(5, "new")), TableOutcome.FOLLOW),
    "text became varchar": Case(columns(ID, column(2, "notes", VARCHAR, typmod=44), OTHER, N), TableOutcome.FOLLOW),
    "VACUUM FULL": Case(FACTS._replace(filenode=70), TableOutcome.FOLLOW),
    "SET STATISTICS": Case(columns(ID, column(2, "notes", version=950), OTHER, N), TableOutcome.FOLLOW),
    "dropped": Case(None, TableOutcome.BLOCK, "does not exist any more"),
    "renamed": Case(None, TableOutcome.BLOCK, "called public.t_old now", current_name="public.t_old"),
    "swapped by rename": Case(
        FACTS._replace(oid=70),
        TableOutcome.BLOCK,
        "another table has its name now.*public.t_old",
        current_name="public.t_old",
    ),
    "identity nothing": Case(FACTS._replace(identity="n", identity_columns=()), TableOutcome.BLOCK, "NOTHING"),
    "taken out of the publication": Case(FACTS._replace(published=None, membership=()), TableOutcome.BLOCK, "lacks it"),
    "raw topic created again": Case(FACTS, TableOutcome.BLOCK, "raw topic", topic_id="other"),
    "another primary key": Case(
        FACTS._replace(primary_key=("n",), identity_columns=("n",)), TableOutcome.BLOCK, r"is \(n\), and was \(id\)"
    ),
    "the key in another order": Case(
        FACTS._replace(primary_key=("n", "id"), identity_columns=("id", "n")), TableOutcome.BLOCK, r"is \(n, id\)"
    ),
    "out of the publication and back": Case(
        FACTS._replace(membership=("table 13",)), TableOutcome.FOLLOW_WITH_FAULT, "put back"
    ),
    "publication created again": Case(
        FACTS, TableOutcome.FOLLOW_WITH_FAULT, "created again", PUBLICATION._replace(oid=12)
    ),
    "publication altered and altered back": Case(
        FACTS, TableOutcome.FOLLOW_WITH_FAULT, "altered", PUBLICATION._replace(version=901)
    ),
    "column dropped": Case(columns(ID, OTHER, N), TableOutcome.FOLLOW_WITH_FAULT, "column notes was dropped"),
    "column renamed": Case(
        columns(ID, column(2, "remarks"), OTHER, N), TableOutcome.FOLLOW_WITH_FAULT, "notes is called remarks now"
    ),
    "two columns swapped their names": Case(
        columns(ID, column(2, "other"), column(3, "notes"), N),
        TableOutcome.FOLLOW_WITH_FAULT,
        "notes is called other now; column other is called notes now",
    ),
    "dropped and added again under its name": Case(
        columns(ID, OTHER, N, column(5, "notes")), TableOutcome.FOLLOW_WITH_FAULT, "column notes was dropped"
    ),
    "not published any more": Case(
        FACTS._replace(published=("id", "other", "n")),
        TableOutcome.FOLLOW_WITH_FAULT,
        "notes is not published any more",
    ),
    "another type": Case(
        columns(ID, NOTES, OTHER, column(4, "n", INT8)), TableOutcome.FOLLOW_WITH_FAULT, "column n changed its type"
    ),
    "rows rewritten with USING": Case(
        columns(ID, NOTES, OTHER, column(4, "n", INT4, version=950), filenode=70),
        TableOutcome.FOLLOW_WITH_FAULT,
        "n was altered",
    ),
    "a column with a default": Case(
        columns(*COLUMNS, column(5, "new", filled=True)), TableOutcome.FOLLOW_WITH_FAULT, "new was added"
    ),
    "a column whose default rewrote the rows and was dropped": Case(
        columns(*COLUMNS, column(5, "new"), filenode=70), TableOutcome.FOLLOW_WITH_FAULT, "new was added"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_check_of_the_source_decides_what_becomes_of_the_table(case: Case) -> None:
    verdict = table_verdict(CHECK._replace(**{k: v for k, v in vars(case).items() if k in TableCheck._fields}))
    assert verdict.outcome is case.outcome
    if case.says:
        assert re.search(case.says, verdict.why), verdict.why
    assert (verdict.bound is not None) == (case.outcome is TableOutcome.FOLLOW)


@pytest.mark.parametrize("current_name", [None, "public.t_old"])
def test_the_advice_is_never_to_create_an_empty_table_in_place_of_a_dropped_one(current_name: str | None) -> None:
    """An empty table would be read as one whose rows were all deleted."""
    verdict = table_verdict(CHECK._replace(facts=None, current_name=current_name))
    assert "create" not in verdict.fix
    assert verdict.fix.startswith(f"give {current_name} its name back" if current_name else "restore it with its rows")


A, B, X = "label 70 900", "label 71 900", "label 70 950"
PAIR, PAIR_WITHOUT = ("attribute 80 1 23", "attribute 80 2 25"), ("attribute 80 1 23", "attribute 80 2 0")


@pytest.mark.parametrize(
    ("name", "was", "now", "outcome"),
    [
        ("notes", (A, B), (A, B), TableOutcome.FOLLOW),
        ("notes", (A,), (A, B), TableOutcome.FOLLOW),
        ("notes", (A, B), (B, X), TableOutcome.FOLLOW_WITH_FAULT),
        ("notes", PAIR, PAIR_WITHOUT, TableOutcome.FOLLOW_WITH_FAULT),
        ("notes", PAIR, (*PAIR, "attribute 80 3 23"), TableOutcome.FOLLOW_WITH_FAULT),
        ("id", (A, B), (B, X), TableOutcome.BLOCK),
        ("id", (A,), (A, B), TableOutcome.FOLLOW),
        ("notes", None, (A, B), TableOutcome.FOLLOW),
        ("id", None, PAIR, TableOutcome.FOLLOW),
    ],
)
def test_a_type_whose_values_are_spelled_otherwise_is_a_fault_and_a_new_label_is_not(
    name: str, was: tuple[str, ...] | None, now: tuple[str, ...], outcome: TableOutcome
) -> None:
    bound = BOUND._replace(columns=tuple(c._replace(spelling=was) if c.name == name else c for c in BOUND.columns))
    facts = columns(*(c._replace(spelling=now) if c.name == name else c for c in COLUMNS))
    verdict = table_verdict(CHECK._replace(bound=bound, facts=facts))
    assert verdict.outcome is outcome
    assert outcome is TableOutcome.FOLLOW or f"column {name}" in verdict.why
    assert columns_to_reread(bound, facts) == (set() if outcome is TableOutcome.FOLLOW else {name})
    if verdict.bound is not None:
        assert now in [c.spelling for c in verdict.bound.columns]


def test_an_unpublished_generated_column_is_no_change() -> None:
    facts = FACTS._replace(columns=(*COLUMNS, column(5, "twice", generated=True, filled=True)))
    assert table_verdict(CHECK._replace(facts=facts)).outcome is TableOutcome.FOLLOW


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
def test_a_change_of_partitions_is_a_fault_if_rows_were_added_or_removed_without_an_event(
    facts: TableFacts, filled: tuple[int, ...], emptied: tuple[int, ...], says: str
) -> None:
    bound = binding_of(PARTITIONED, PUBLICATION, "topic")
    emptied_by = dict.fromkeys(emptied, 1_001)
    verdict = table_verdict(CHECK._replace(bound=bound, facts=facts, filled=frozenset(filled), emptied=emptied_by))
    assert verdict.outcome is (TableOutcome.FOLLOW_WITH_FAULT if says else TableOutcome.FOLLOW)
    assert says in verdict.why


def test_an_empty_new_partition_becomes_part_of_the_binding() -> None:
    more = PARTITIONED._replace(leaves=(LEAF, LEAF._replace(oid=9, table="t_2")))
    verdict = table_verdict(CHECK._replace(bound=binding_of(PARTITIONED, PUBLICATION, "topic"), facts=more))
    assert verdict.bound is not None
    assert set(verdict.bound.leaves) == {8, 9}


def test_a_watermark_of_an_older_version_gets_a_complete_binding_without_a_fault() -> None:
    facts = PARTITIONED._replace(columns=(ID, NOTES._replace(spelling=(A, B)), OTHER, N))
    older = [
        "topic", 7, ["id"], [[1, "id", 23, -1, 900], [2, "notes", 25, -1, 900], [3, "other", 25, -1, 900],
        [4, "n", 23, -1, 900]], 0, [[8, 8]], ["table 12"], [11, 900], 1_000,
    ]  # fmt: skip
    plain = {"state": "followed", "since_lsn": 5, "request": 0, "why": "", "next_step": "", "fault_at": 0}
    bound = TableWatermark.from_json({"v": 1, **plain, "bound": older}).bound
    assert bound is not None
    assert (bound.columns[1], bound.leaves[8]) == (BoundColumn(2, "notes", TEXT, -1, 900), BoundLeaf(8))
    verdict = table_verdict(CHECK._replace(bound=bound, facts=facts))
    assert verdict == TableVerdict(TableOutcome.FOLLOW, bound=binding_of(facts, PUBLICATION, "topic"))


@pytest.mark.parametrize(
    ("truncations", "caught_up", "left", "undecided"),
    [
        (set(), False, {}, True),
        (set(), True, {8: 1_001}, False),
        ({1_001}, False, {}, False),
        ({1_001}, True, {}, False),
        ({1_000}, True, {8: 1_001}, False),
    ],
)
def test_an_emptied_partition_is_undecided_until_the_log_shows_whether_the_whole_table_was_truncated(
    truncations: set[int], caught_up: bool, left: dict[int, int], undecided: bool
) -> None:
    check = CHECK._replace(facts=PARTITIONED, emptied={8: 1_001})
    explained, is_undecided = explain_by_log(check, truncations, caught_up=caught_up)
    assert (explained.emptied, is_undecided) == (left, undecided)


@pytest.mark.parametrize(
    ("truncations", "caught_up", "facts", "outcome", "undecided"),
    [
        (set(), False, FACTS, TableOutcome.FOLLOW, True),
        (set(), True, FACTS, TableOutcome.FOLLOW_WITH_FAULT, False),
        ({1_000}, True, FACTS, TableOutcome.FOLLOW, False),
        ({1_007}, False, FACTS, TableOutcome.FOLLOW, False),
        ({999}, True, FACTS, TableOutcome.FOLLOW_WITH_FAULT, False),  # it ended before the binding
        (
            set(),
            True,
            FACTS._replace(columns=(*COLUMNS, column(5, "twice", generated=True, version=1_003))),
            TableOutcome.FOLLOW,
            False,
        ),
        (set(), True, FACTS._replace(columns=WITH_GENERATED), TableOutcome.FOLLOW_WITH_FAULT, False),
        ({1_007}, True, FACTS._replace(toast=20), TableOutcome.FOLLOW, False),
        ({1_007}, True, FACTS._replace(toast=21), TableOutcome.FOLLOW_WITH_FAULT, False),
    ],
)
def test_rows_that_are_all_younger_were_truncated_or_rewritten_and_the_log_shows_which(
    truncations: set[int], caught_up: bool, facts: TableFacts, outcome: TableOutcome, undecided: bool
) -> None:
    bound = BOUND._replace(toast=20)
    check = CHECK._replace(bound=bound, facts=facts._replace(filenode=70), refilled=True)
    explained, is_undecided = explain_by_log(check, truncations, caught_up=caught_up)
    verdict = table_verdict(explained)
    assert (verdict.outcome, is_undecided) == (outcome, undecided)
    assert outcome is TableOutcome.FOLLOW or "its rows were rewritten" in verdict.why


def test_a_change_keeps_the_lsn_of_the_check_that_found_it_first() -> None:
    emptied = CHECK._replace(facts=PARTITIONED, emptied={8: 1_001})
    first = first_found_at(emptied.unexplained, {}, 50)
    assert first == {(8, 1_001): 50}
    again = emptied._replace(emptied={8: 1_001, 9: 1_002})
    assert first_found_at(again.unexplained, first, 60) == {(8, 1_001): 50, (9, 1_002): 60}
    emptied_once_more = emptied._replace(emptied={8: 1_003})
    assert first_found_at(emptied_once_more.unexplained, first, 70) == {(8, 1_003): 70}
    rewritten = CHECK._replace(facts=FACTS._replace(filenode=70), refilled=True)
    assert first_found_at(rewritten.unexplained, {}, 80) == {(7, 70): 80}
    assert first_found_at(CHECK.unexplained, first, 90) == {}


def test_truncations_that_the_binding_may_not_contain_are_kept() -> None:
    assert truncations_since((BOUND.xid - 1, BOUND.xid, BOUND.xid + 5), BOUND) == (BOUND.xid, BOUND.xid + 5)


# ── shapes in the log ────────────────────────────────────────────────────────────────────────────────────────────


def relation(names: str, key: str = "id", identity: str = "d", **types: int) -> Relation:
    known = {"id": INT4, "n": INT4, **types}
    made = [RelationColumn(n, known.get(n, TEXT), -1, identity == "f" or n in key.split()) for n in names.split()]
    return Relation(7, "public", "t", identity, tuple(made))


@pytest.mark.parametrize(
    ("shape", "outcome"),
    [
        (relation("id notes other n"), TableOutcome.FOLLOW),
        (relation("id notes other n new"), TableOutcome.FOLLOW),
        (relation("id notes other n", notes=VARCHAR), TableOutcome.FOLLOW),
        (relation("id notes other n", identity="f"), TableOutcome.FOLLOW),
        (relation("id notes other n", "id n", identity="i"), TableOutcome.FOLLOW),
        (relation("id notes other"), TableOutcome.FOLLOW),  # the catalogs show a column before the log does
        (relation("id other notes n"), TableOutcome.FOLLOW_WITH_FAULT),
        (relation("id other n notes"), TableOutcome.FOLLOW_WITH_FAULT),
        (relation("id remarks other n"), TableOutcome.FOLLOW_WITH_FAULT),
        (relation("id notes other n", n=INT8), TableOutcome.FOLLOW_WITH_FAULT),
        (relation("id notes other n", "n"), TableOutcome.BLOCK),
        (relation("id notes other n", "id n"), TableOutcome.BLOCK),
        (relation("id notes other n", "", identity="n"), TableOutcome.BLOCK),
        (relation("id notes other n", "n", identity="i"), TableOutcome.BLOCK),
    ],
)
def test_a_shape_in_the_log_decides_even_if_no_catalog_shows_it_any_more(
    shape: Relation, outcome: TableOutcome
) -> None:
    assert relation_verdict(BOUND, shape).outcome is outcome


@pytest.mark.parametrize(
    ("facts", "reread"),
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
def test_a_column_is_read_again_if_its_name_meant_another_one_or_its_values_were_rewritten(
    facts: TableFacts, reread: set[str]
) -> None:
    assert columns_to_reread(BOUND, facts) == reread


# ── eligibility ───────────────────────────────────────────────────────────────────────────────────────────────────────

INELIGIBLE = {
    "a view": (FACTS._replace(kind="v"), V18, "view", False),
    "no primary key": (FACTS._replace(primary_key=(), identity_columns=()), V18, "no primary key", True),
    "no primary key, and full": (FACTS._replace(primary_key=(), identity="f"), V18, "no primary key", False),
    "unlogged": (FACTS._replace(persistence="u"), V18, "unlogged", False),
    "identity nothing": (FACTS._replace(identity="n", identity_columns=()), V18, "NOTHING", True),
    "a dropped identity index": (FACTS._replace(identity="i", identity_columns=()), V18, "index.*dropped", True),
    "a deferrable primary key": (FACTS._replace(identity_columns=(), key_immediate=False), V18, "DEFERRABLE", True),
    "an identity without the key": (
        FACTS._replace(identity="i", identity_columns=("n",)),
        V18,
        "does not contain",
        False,
    ),
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
        "does not contain the primary key",
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


@pytest.mark.parametrize(("facts", "version", "says", "breaks_writes"), INELIGIBLE.values(), ids=INELIGIBLE.keys())
def test_a_table_that_cannot_be_followed_is_known_before_it_is_published(
    facts: TableFacts, version: int, says: str, breaks_writes: bool
) -> None:
    wrong = ineligibility(facts._replace(server_version=version))
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
def test_an_eligible_table_is_followed(facts: TableFacts, version: int) -> None:
    assert ineligibility(facts._replace(server_version=version)) is None
