"""Which tables can be followed, and which break their application's writes when they are published."""

from __future__ import annotations

import re

import pytest

from sluice.cdc.eligibility import ineligibility
from sluice.cdc.table_facts import TableFacts
from support.table_facts import FACTS, LEAF, PARTITIONED, V17, V18, WITH_GENERATED

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
