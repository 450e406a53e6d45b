"""What finance does to its tables: each edit is one transaction of one or a few rows, and says what it changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg import sql

from .. import company
from . import generate

# How often each kind is made, relative to the others.
EDITS = {
    "book": 30,
    "raise_pay": 25,
    "correct_booking": 10,
    "rewrite_notes": 8,
    "cancel_booking": 8,
    "reorganise": 5,
    "enrol": 4,
    "strike_off": 4,
    "rename_cost_centre": 3,
    "renumber_booking": 1,
    "open_cost_centre": 1,
    "close_cost_centre": 1,
}
OPTIONAL_EDITS = {"renumber_employee": 1, "empty_ledger": 1}


_KEYS = {"cost_centre": "code", "payroll": "employee_number", "ledger_entry": "id"}


class Change(NamedTuple):
    """A row that an edit left behind (`row`: the columns it wrote), or the key of one that it deleted (None)."""

    table: str
    key: str
    row: dict[str, Any] | None


class Books:
    """Edits over one autocommit connection, chosen by `seed` from `kinds` (name → weight)."""

    def __init__(self, connection: psycopg.Connection[Any], seed: int, kinds: Mapping[str, int]) -> None:
        self._db = connection
        self._seed = seed
        self._kinds = dict(kinds)
        self._start = self._one("SELECT coalesce(max(id), 0) FROM public.ledger_entry") or 0
        self._employees = self._one("SELECT count(*) FROM public.payroll") or 1
        self._next_entry = self._start + 1

    def edit(self, number: int) -> tuple[str, list[Change]]:
        """Makes edit `number` of this run; its kind, and what it changed, committed when this returns."""
        rng = Random(f"{self._seed}/books/{self._start}/{number}")
        kind = rng.choices(list(self._kinds), list(self._kinds.values()))[0]
        with self._db.transaction():
            return kind, getattr(self, f"_{kind}")(rng)

    def _book(self, rng: Random) -> list[Change]:
        entry = generate.ledger_entry(self._next_entry, rng, self._employees, datetime.now(UTC))
        self._next_entry += 1
        return self._insert("ledger_entry", entry)

    def _correct_booking(self, rng: Random) -> list[Change]:
        entry = generate.ledger_entry(0, rng, 1, datetime.now(UTC))
        return self._update(
            "ledger_entry", {"amount": entry.amount, "text": entry.text or "corrected"}, self._any_entry(rng)
        )

    def _cancel_booking(self, rng: Random) -> list[Change]:
        return self._delete("ledger_entry", self._any_entry(rng))

    def _renumber_booking(self, rng: Random) -> list[Change]:
        """A key change: in the log it is a delete and an insert."""
        self._next_entry += 1
        return self._update("ledger_entry", {"id": self._next_entry - 1}, self._any_entry(rng))

    def _empty_ledger(self, rng: Random) -> list[Change]:
        self._db.execute("TRUNCATE public.ledger_entry")
        return []

    def _raise_pay(self, rng: Random) -> list[Change]:
        """`notes` are not touched: where they are large, the published change does not contain them."""
        pay = Decimal(company.any_pay_cents(rng)).scaleb(-2)
        return self._update("payroll", {"base_pay": pay}, self._any_employee(rng))

    def _rewrite_notes(self, rng: Random) -> list[Change]:
        return self._update("payroll", {"notes": generate.notes(rng)}, self._any_employee(rng))

    def _reorganise(self, rng: Random) -> list[Change]:
        """Several employees change cost centre, and each move is booked, in one transaction."""
        code = company.cost_centre_code(company.any_cost_centre(rng))
        changes = []
        for _ in range(rng.randint(2, 6)):
            changes += self._update("payroll", {"cost_centre": code}, self._any_employee(rng))
            changes += self._book(rng)
        return changes

    def _enrol(self, rng: Random) -> list[Change]:
        """A payroll for somebody who had none, or a new one instead of the old."""
        person = company.person(self._seed, rng.randint(1, self._employees + 50))
        row = generate.payroll(person, rng, datetime.now(UTC))
        self._delete("payroll", row.employee_number)
        return self._insert("payroll", row)

    def _strike_off(self, rng: Random) -> list[Change]:
        return self._delete("payroll", self._any_employee(rng))

    def _renumber_employee(self, rng: Random) -> list[Change]:
        """A key change whose large `notes` stay as they were."""
        new = company.employee_number(50_000 + rng.randrange(50_000))
        self._delete("payroll", new)
        return self._update("payroll", {"employee_number": new}, self._any_employee(rng))

    def _rename_cost_centre(self, rng: Random) -> list[Change]:
        name = company.cost_centre(rng.getrandbits(32), 0).name
        return self._update("cost_centre", {"name": name}, self._any_cost_centre(rng))

    def _open_cost_centre(self, rng: Random) -> list[Change]:
        """A new one, or one that was closed before."""
        centre = company.cost_centre(self._seed, rng.randrange(company.COST_CENTRES + 40))
        self._delete("cost_centre", centre.code)
        owner = company.employee_number(centre.owner)
        row = generate.CostCentre(centre.code, centre.name, owner, centre.currency, datetime.now(UTC))
        return self._insert("cost_centre", row)

    def _close_cost_centre(self, rng: Random) -> list[Change]:
        return self._delete("cost_centre", self._any_cost_centre(rng))

    def _any_employee(self, rng: Random) -> str | None:
        wanted = company.employee_number(rng.randint(1, self._employees))
        query = "SELECT employee_number FROM public.payroll WHERE employee_number >= %s ORDER BY 1 LIMIT 1"
        found: str | None = self._one(query, wanted)
        return found

    def _any_entry(self, rng: Random) -> int | None:
        query = "SELECT id FROM public.ledger_entry WHERE id >= %s AND id <> %s ORDER BY id LIMIT 1"
        found: int | None = self._one(query, rng.randrange(1, self._next_entry), generate.HOPELESS_LEDGER_ENTRY)
        return found

    def _any_cost_centre(self, rng: Random) -> str | None:
        wanted = company.cost_centre_code(rng.randrange(company.COST_CENTRES))
        query = "SELECT code FROM public.cost_centre WHERE code >= %s ORDER BY code LIMIT 1"
        found: str | None = self._one(query, wanted)
        return found

    def _one(self, query: LiteralString, *parameters: object) -> Any:
        row = self._db.execute(query, parameters).fetchone()
        return row[0] if row else None

    def _insert(self, table: str, row: Any) -> list[Change]:
        columns = sql.SQL(", ").join(map(sql.Identifier, row._fields))
        values = sql.SQL(", ").join([sql.Placeholder()] * len(row))
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier("public", table), columns, values)
        self._db.execute(statement, tuple(row))
        return [Change(table, str(row[0]), row._asdict())]

    def _update(self, table: str, values: dict[str, Any], key: object) -> list[Change]:
        """Sets columns of the row with `key` and its `updated_at`; columns not named stay untouched in the log."""
        touched = values if table == "ledger_entry" else {**values, "updated_at": datetime.now(UTC)}
        settings = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in touched)
        key_column = _KEYS[table]
        statement = sql.SQL("UPDATE {} SET {} WHERE {} = %s").format(
            sql.Identifier("public", table), settings, sql.Identifier(key_column)
        )
        if self._db.execute(statement, (*touched.values(), key)).rowcount == 0:
            return []
        if key_column not in values:
            return [Change(table, str(key), touched)]
        return [Change(table, str(key), None), Change(table, str(values[key_column]), touched)]

    def _delete(self, table: str, key: object) -> list[Change]:
        statement = sql.SQL("DELETE FROM {} WHERE {} = %s")
        target = sql.Identifier("public", table), sql.Identifier(_KEYS[table])
        gone = self._db.execute(statement.format(*target), (key,)).rowcount
        return [Change(table, str(key), None)] if gone else []
