"""Random tables and random changes to them. A workload is a function of its seed."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from support.differential import Step, Workload
from support.differential_types import FAMILIES

IDS = range(1, 9)
OTHER_IDS = range(101, 105)  # of a second session, so that the sessions never wait for each other
# Types that need no type or extension of their own; for the values of arrays of arrays see the page of differences.
_FAMILIES = [name for name, (_, before) in FAMILIES.items() if not before and name != "nested_arrays"]
_POOL = [
    (declared, list(values))
    for family in _FAMILIES
    for declared, values in FAMILIES[family][0].values()
    if values and declared != "name"
]

# Types that are never NOT NULL here. What Debezium writes for a figure that the log does not contain is not repeated.
# It stops at a value that it states as null, such as the numeric NaN, if the column is NOT NULL.
_NULLABLE_ONLY = {declared for declared, _ in FAMILIES["places"][0].values()} | {
    declared
    for declared, values in _POOL
    if declared.startswith(("numeric", "timetz", "time")) or declared.endswith("]") or "inf" in str(values).lower()
}


class _Column(NamedTuple):
    name: str
    declared: str
    values: list[str]
    nullable: bool


def random_workload(seed: int) -> Workload:
    """A table of random columns with rows in the snapshot, and changes of its rows and columns."""
    return _Random(seed).workload()


class _Random:
    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._table = f"random_{seed}"
        self._made = 0
        self._columns: list[_Column] = []

    def workload(self) -> Workload:
        random = self._random
        self._columns = [self._column() for _ in range(random.randint(1, 6))]
        declared = ", ".join(self._declared(column) for column in self._columns)
        identity = random.choice(["DEFAULT", "FULL"])
        before = [
            f"CREATE TABLE {self._table} (id int PRIMARY KEY, {declared})",
            f"ALTER TABLE {self._table} REPLICA IDENTITY {identity}",
            *(self._insert(key) for key in random.sample(list(IDS), 3)),
        ]
        steps: list[Step] = []
        for _ in range(random.randint(4, 10)):
            steps += random.choice([self._alone, self._together, self._undone, self._interleaved, self._definition])()
        return Workload(self._table, [f"public.{self._table}"], before, steps)

    def _column(self) -> _Column:
        self._made += 1
        declared, values = self._random.choice(_POOL)
        nullable = self._random.random() < 0.7 or declared in _NULLABLE_ONLY
        return _Column(f"c{self._made}", declared, values, nullable)

    def _declared(self, column: _Column) -> str:
        default = f" DEFAULT {self._random.choice(column.values)}" if self._random.random() < 0.3 else ""
        return f"{column.name} {column.declared}{'' if column.nullable else ' NOT NULL'}{default}"

    def _value(self, column: _Column) -> str:
        if column.nullable and self._random.random() < 0.2:
            return "NULL"
        return self._random.choice(column.values)

    def _insert(self, key: int) -> str:
        names = ", ".join(column.name for column in self._columns)
        values = ", ".join(self._value(column) for column in self._columns)
        return f"INSERT INTO {self._table} (id, {names}) VALUES ({key}, {values}) ON CONFLICT DO NOTHING"

    def _change(self, ids: range = IDS) -> str:
        random, key = self._random, self._random.choice(ids)
        kind = random.choice(["insert", "insert", "update", "update", "update", "move", "delete"])
        if kind == "insert":
            return self._insert(key)
        if kind == "delete":
            return f"DELETE FROM {self._table} WHERE id = {key}"
        if kind == "move":
            to = random.choice(ids)
            free = f"NOT EXISTS (SELECT FROM {self._table} WHERE id = {to})"
            return f"UPDATE {self._table} SET id = {to} WHERE id = {key} AND {free}"
        column = random.choice(self._columns)
        return f"UPDATE {self._table} SET {column.name} = {self._value(column)} WHERE id = {key}"

    def _alone(self) -> list[Step]:
        return [self._change()]

    def _together(self) -> list[Step]:
        return ["BEGIN", *(self._change() for _ in range(self._random.randint(1, 5))), "COMMIT"]

    def _undone(self) -> list[Step]:
        if self._random.random() < 0.5:
            return ["BEGIN", self._change(), self._change(), "ROLLBACK"]
        return ["BEGIN", self._change(), "SAVEPOINT s", self._change(), "ROLLBACK TO s", self._change(), "COMMIT"]

    def _interleaved(self) -> list[Step]:
        ends: list[Step] = ["COMMIT", ("other", "COMMIT")]
        self._random.shuffle(ends)
        mine: list[Step] = [self._change(), ("other", self._change(OTHER_IDS))]
        more: list[Step] = [self._change(), ("other", self._change(OTHER_IDS))]
        return ["BEGIN", ("other", "BEGIN"), *mine, *more, *ends]

    def _definition(self) -> list[Step]:
        kind = self._random.choice(["add", "drop", "rename"])
        if kind == "drop" and len(self._columns) > 1:
            column = self._columns.pop(self._random.randrange(len(self._columns)))
            return [f"ALTER TABLE {self._table} DROP COLUMN {column.name}"]
        if kind == "rename":
            at = self._random.randrange(len(self._columns))
            old, self._made = self._columns[at], self._made + 1
            self._columns[at] = old._replace(name=f"c{self._made}")
            return [f"ALTER TABLE {self._table} RENAME COLUMN {old.name} TO {self._columns[at].name}"]
        column = self._column()._replace(nullable=True)
        self._columns.append(column)
        return [f"ALTER TABLE {self._table} ADD COLUMN {self._declared(column)}"]
