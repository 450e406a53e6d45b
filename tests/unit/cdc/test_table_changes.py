"""What becomes of a table when the source shows other facts than its records were made from."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from sluice.cdc.table_facts import (
    BoundColumn,
    BoundLeaf,
    PublicationFacts,
    TableFacts,
    binding_of,
)
from sluice.cdc.watermarks import TableWatermark
from sluice_ingress_cdc.table_changes import (
    TableCheck,
    TableOutcome,
    TableVerdict,
    columns_to_reread,
    explain_by_log,
    first_found_at,
    table_verdict,
    truncations_since,
)
from support.table_facts import (
    BOUND,
    COLUMNS,
    FACTS,
    ID,
    INT4,
    INT8,
    LEAF,
    NOTES,
    OTHER,
    PARTITIONED,
    PUBLICATION,
    TEXT,
    VARCHAR,
    WITH_GENERATED,
    N,
    column,
    columns,
)

CHECK = TableCheck(BOUND, FACTS, PUBLICATION, "topic")


@dataclass(frozen=True)
class Case:
    facts: TableFacts | None
    outcome: TableOutcome
    says: str = ""
    publication: PublicationFacts = PUBLICATION
    topic_id: str = "topic"
    current_name: str | None = None


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
