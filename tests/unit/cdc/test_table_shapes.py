"""What a new shape of a table in the log means."""

from __future__ import annotations

import pytest

from sluice.cdc.pgoutput import Relation, RelationColumn
from sluice.cdc.table_facts import TableFacts
from sluice_ingress_cdc.table_changes import TableOutcome, columns_to_reread, relation_verdict
from support.table_facts import BOUND, FACTS, ID, INT4, INT8, NOTES, OTHER, TEXT, VARCHAR, N, column, columns


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
