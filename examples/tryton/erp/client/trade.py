"""What is done in the company day by day: each action is one request to Tryton and returns what it changed.

An employee's name lives in its party, so renaming the party is how an employee is renamed. A party with moves or
employees cannot be deleted (Tryton refuses), so the actions keep a stock of newcomers that can.
"""

import datetime as dt
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import company as seeding
from people import organisation, person
from proteus import Model  # type: ignore[import-not-found, unused-ignore]

SPARE_PARTIES_MIN = 5


class Change(NamedTuple):
    """One committed value; `value` None with field `id` says that the record is gone."""

    model: str
    id: int
    field: str
    value: Any


class Company:
    """The company as the edits know it: ids to choose from, read once, kept up with what they change."""

    def __init__(self, config: Any, rng: random.Random) -> None:
        self.config = config
        self.context = {**config.context, "active_test": False}  # else Tryton hides who has left, and inactive parties
        self.rng = rng
        self.company = int(Model.get("company.company").find()[0].id)
        accounts = {kind: int(seeding.account_of(kind).id) for kind in ("receivable", "payable", "revenue", "expense")}
        self.facts = seeding.move_facts(config, accounts)
        employees = self.call("company.employee", "search_read", [], 0, None, None, ["party"])
        self.employees = {int(e["id"]): int(e["party"]) for e in employees}
        with_lines = self.call("account.move.line", "search_read", [("party", "!=", None)], 0, None, None, ["party"])
        owner = self.call("company.company", "search_read", [], 0, None, None, ["party"])
        self.parties = sorted({int(line["party"]) for line in with_lines} - {int(c["party"]) for c in owner})
        taken = {*self.parties, *self.employees.values(), *(int(c["party"]) for c in owner)}
        self.spare = [i for i in map(int, self.call("party.party", "search", [])) if i not in taken]
        self.drafts = list(map(int, self.call("account.move", "search", [("state", "=", "draft")])))

    def call(self, model: str, method: str, *arguments: Any) -> Any:
        """One request, committed when it returns."""
        return getattr(self.config.get_proxy(model), method)(*arguments, self.context)

    def write(self, model: str, record: int, field: str, value: Any) -> list[Change]:
        self.call(model, "write", [record], {field: value})
        shown = value.isoformat() if isinstance(value, dt.date) else value
        return [Change(model, record, field, shown)]


def rename_employee(company: Company) -> list[Change]:
    party = company.rng.choice(list(company.employees.values()))
    return company.write("party.party", party, "name", person(company.rng))


def rename_party(company: Company) -> list[Change]:
    return company.write("party.party", company.rng.choice(company.parties), "name", organisation(company.rng))


def change_start(company: Company) -> list[Change]:
    started = dt.date(2010, 1, 1) + dt.timedelta(days=company.rng.randrange(700))
    return company.write("company.employee", company.rng.choice(list(company.employees)), "start_date", started)


def leave_or_return(company: Company) -> list[Change]:
    ends = dt.date(2027, 1, 1) + dt.timedelta(days=company.rng.randrange(900)) if company.rng.random() < 0.7 else None
    return company.write("company.employee", company.rng.choice(list(company.employees)), "end_date", ends)


def change_supervisor(company: Company) -> list[Change]:
    employee, leader = company.rng.sample(sorted(company.employees), 2)
    leads = company.call("company.employee", "search", [("supervisor", "=", employee)])
    if leads or leader > employee:  # Tryton refuses circles of supervisors: only ever look up the list
        return []
    return company.write("company.employee", employee, "supervisor", leader)


def deactivate_party(company: Company) -> list[Change]:
    if not company.spare:
        return []
    return company.write("party.party", company.rng.choice(company.spare), "active", company.rng.random() < 0.5)


def add_party(company: Company) -> list[Change]:
    name = organisation(company.rng)
    party = int(company.call("party.party", "create", [{"name": name}])[0])
    company.spare.append(party)
    return [Change("party.party", party, "name", name)]


def delete_party(company: Company) -> list[Change]:
    if len(company.spare) <= SPARE_PARTIES_MIN:
        return add_party(company)
    party = company.spare.pop(company.rng.randrange(len(company.spare)))
    company.call("party.party", "delete", [party])
    return [Change("party.party", party, "id", None)]


def hire(company: Company) -> list[Change]:
    if not company.spare:
        return add_party(company)
    party = company.spare.pop()
    values = seeding.employee_values(company.rng, company.company, party)
    employee = int(company.call("company.employee", "create", [values])[0])
    company.employees[employee] = party
    return [Change("company.employee", employee, "start_date", values["start_date"].isoformat())]


def dismiss(company: Company) -> list[Change]:
    employee = company.rng.choice(list(company.employees))
    if company.call("company.employee", "search", [("supervisor", "=", employee)]):
        return []
    company.call("company.employee", "delete", [employee])
    company.spare.append(company.employees.pop(employee))
    return [Change("company.employee", employee, "id", None)]


def sell(company: Company) -> list[Change]:
    values = seeding.move_values(company.rng, company.company, company.facts, company.rng.choice(company.parties))
    move = int(company.call("account.move", "create", [values])[0])
    company.drafts.append(move)
    lines = company.call("account.move.line", "search_read", [("move", "=", move)], 0, None, None, ["debit"])
    return [Change("account.move.line", int(line["id"]), "debit", str(Decimal(line["debit"]))) for line in lines]


def post(company: Company) -> list[Change]:
    if not company.drafts:
        return sell(company)
    move = company.drafts.pop(company.rng.randrange(len(company.drafts)))
    company.call("account.move", "post", [move])
    return [Change("account.move", move, "state", "posted")]


ACTIONS: dict[Callable[[Company], list[Change]], int] = {
    rename_employee: 30,
    rename_party: 14,
    change_start: 12,
    leave_or_return: 8,
    change_supervisor: 6,
    deactivate_party: 3,
    add_party: 7,
    delete_party: 4,
    hire: 3,
    dismiss: 1,
    sell: 7,
    post: 5,
}
