"""Actions of Postgres users on followed tables. Each time, within half a minute, the golden records equal the table, or
a fault names the table and the command that repairs it; after the command they are equal. All cases run at once, on
tables of one source: a case affects no other table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from sluice.cdc.watermarks import FOLLOWED
from sluice.embedded import Servers
from support.cdc import SOURCE
from support.one_entity import OneEntity, one_entity
from support.postgres_deeds import DEEDS, Deed, Outcome, table_of
from support.trials import Trial, settle
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
BYSTANDER = "bystander"
CASES = [(table_of(number), deed) for number, deed in enumerate(DEEDS)]
FAULT_WITHIN_S = 30.0
EQUAL_AGAIN_WITHIN_S = 60.0


@dataclass
class TableTrial(Trial):
    """One case; `fault`: of its active faults, the one that names the command."""

    table: str
    deed: Deed
    fault: str = ""


@pytest.fixture(scope="module")
def pipeline(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneEntity]:
    def fill(dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"CREATE TABLE {BYSTANDER} (id serial PRIMARY KEY)")
            for table, deed in CASES:
                do(connection, table, deed.setup)

    directory: Path = tmp_path_factory.mktemp("tables")
    tables = [*(table for table, _ in CASES), BYSTANDER]
    with one_entity(servers, directory, tables, fill, partitions=1) as running:
        eventually(
            lambda: all(as_stored(running, t) for t in tables),
            "all tables are golden",
            120.0,
            running.scenario.states,
            lambda: rows_of(running),
        )
        yield running


@pytest.fixture(scope="module")
def trials(pipeline: OneEntity) -> dict[str, TableTrial]:
    """All cases, run to their end."""
    trials = [TableTrial(table, deed) for table, deed in CASES]
    by_table: dict[str, TableTrial] = {trial.table: trial for trial in trials}
    publication = pipeline.source.slot.publication
    with psycopg.connect(pipeline.source.dsn, autocommit=True) as application:
        for trial in trials:
            do(application, trial.table, trial.deed.sql, publication)
            if trial.deed.outcome is Outcome.EQUAL:
                do(application, trial.table, trial.deed.writes)
        application.execute(f"INSERT INTO {BYSTANDER} DEFAULT VALUES")
        settle(by_table, lambda: answered(pipeline, trials), FAULT_WITHIN_S, "neither equal nor a fault")
        assert as_stored(pipeline, BYSTANDER), "other tables go on"
        advised = [trial for trial in trials if trial.fault]
        for trial in advised:
            do(application, trial.table, trial.deed.writes)
            do(application, trial.table, trial.deed.fix, publication)
        pipeline.follow_advice(*(trial.fault for trial in advised))
    settle(by_table, lambda: equal(pipeline, trials), EQUAL_AGAIN_WITHIN_S, "not equal after the command")
    return by_table


def answered(pipeline: OneEntity, trials: list[TableTrial]) -> set[str]:
    """The tables with the expected outcome: equal, or the expected fault."""
    faults, golden = pipeline.faults("ingress-cdc").values(), pipeline.golden()
    for trial in trials:
        trial.faults = [why for why in faults if f"table public.{trial.table} is " in why]
        trial.fault = next((why for why in trial.faults if is_advice(trial, why)), "")
    return {
        trial.table
        for trial in trials
        if (trial.fault if trial.deed.outcome is not Outcome.EQUAL else not trial.faults)
        and (trial.fault or golden.get(trial.table, {}) == pipeline.stored(trial.table))
    }


def is_advice(trial: TableTrial, why: str) -> bool:
    """Whether a fault contains the state of the table, the reason, and the command."""
    state = "blocked" if trial.deed.outcome is Outcome.BLOCKED else "followed"
    command = f"`sluice cdc resnapshot {SOURCE} --table public.{trial.table}`"
    return all(word in why for word in (f"is {state}", trial.deed.says.format(t=trial.table), command))


def equal(pipeline: OneEntity, trials: list[TableTrial]) -> set[str]:
    """The tables that are followed without a fault and equal their golden records."""
    marks, golden = pipeline.source.watermarks().tables, pipeline.golden()
    good = {name for name, mark in marks.items() if mark.state == FOLLOWED and not mark.why}
    return {
        trial.table
        for trial in trials
        if f"public.{trial.table}" in good and golden.get(trial.table, {}) == pipeline.stored(trial.table)
    }


def do(connection: psycopg.Connection, table: str, statements: str, publication: str = "") -> None:
    """Each statement by itself, as an application's connection sends them."""
    text = statements.format(t=table, publication=publication)
    for statement in (text,) if "$$" in text else text.split(";"):
        if statement.strip():
            connection.execute(statement.encode())


def as_stored(pipeline: OneEntity, table: str) -> bool:
    return pipeline.golden().get(table, {}) == pipeline.stored(table)


def rows_of(pipeline: OneEntity) -> int:
    return sum(map(len, pipeline.golden().values()))


@pytest.mark.parametrize("table", [table for table, _ in CASES], ids=[deed.what for _, deed in CASES])
def test_the_golden_records_equal_the_table_or_a_fault_names_the_repair(
    trials: dict[str, TableTrial], table: str
) -> None:
    assert not trials[table].problem
