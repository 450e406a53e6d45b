"""Makes the example's company through Tryton's own client: run once, when the template database is made.

A company with Tryton's minimal chart of accounts, a fiscal year, parties, employees (whose names live in their
parties) and moves, some posted and some in draft. Prints what it made as one JSON object.
"""

import datetime as dt
import json
import random
import sys
from decimal import Decimal
from typing import Any

from connect import session
from people import organisation, person
from proteus import Model, Wizard  # type: ignore[import-not-found, unused-ignore]

PARTIES = 300
EMPLOYEES = 150
MOVES = 100
YEAR = 2026
CHART = "account.account_template_root_en"


def main() -> int:
    """Make everything from a fixed seed; parties, employees and moves each in one request."""
    rng = random.Random(20260101)
    with session() as config:
        company = make_company(config)
        accounts = make_accounts(config, company)
        period_year(config, company)
        parties = make_parties(config, rng)
        employees = make_employees(config, rng, company, parties[:EMPLOYEES])
        moves = make_moves(config, rng, company, accounts, parties[EMPLOYEES:])
    json.dump({"parties": len(parties), "employees": len(employees), "moves": len(moves)}, sys.stdout)
    return 0


def make_company(config: Any) -> int:
    """One company that keeps its books in euro; the user's context is set to it."""
    currency = Model.get("currency.currency")(name="Euro", code="EUR", symbol="€", rounding=Decimal("0.01"))
    currency.save()
    party = Model.get("party.party")(name="Kestrel Instruments")
    party.save()
    wizard = Wizard("company.company.config")
    wizard.execute("company")
    wizard.form.party = party
    wizard.form.currency = currency
    wizard.execute("add")
    config._context = Model.get("res.user").get_preferences(True, {})
    (company,) = Model.get("company.company").find()
    return int(company.id)


def make_accounts(config: Any, company: int) -> dict[str, int]:
    """Tryton's minimal chart; returns the ids of the accounts that moves are made on."""
    template = Model.get("account.account.template")(Model.get("ir.model.data").get_id(CHART, config.context))
    wizard = Wizard("account.create_chart")
    wizard.execute("account")
    wizard.form.account_template = template
    wizard.form.company = Model.get("company.company")(company)
    wizard.execute("create_account")
    found = {kind: account_of(kind) for kind in ("receivable", "payable", "revenue", "expense")}
    wizard.form.account_receivable = found["receivable"]
    wizard.form.account_payable = found["payable"]
    wizard.execute("create_properties")
    return {kind: int(account.id) for kind, account in found.items()}


def account_of(kind: str) -> Any:
    """The first open account of a kind, as a proteus record."""
    return Model.get("account.account").find([(f"type.{kind}", "=", True), ("closed", "!=", True)], limit=1)[0]


def period_year(config: Any, company: int) -> None:
    """A fiscal year of twelve periods. Every move of the example is dated in it, whenever it is made."""
    (sequence_type,) = Model.get("ir.sequence.type").find([("name", "=", "Account Move")], limit=1)
    sequence = Model.get("ir.sequence.strict")(name=str(YEAR), sequence_type=sequence_type)
    sequence.company = Model.get("company.company")(company)
    sequence.save()
    year = Model.get("account.fiscalyear")(name=str(YEAR), company=sequence.company)
    year.start_date, year.end_date = dt.date(YEAR, 1, 1), dt.date(YEAR, 12, 31)
    year.move_sequence = sequence
    year.save()
    year.click("create_period")


def make_parties(config: Any, rng: random.Random) -> list[int]:
    """People first (they become employees), then organisations."""
    names = [person(rng) for _ in range(EMPLOYEES)] + [organisation(rng) for _ in range(PARTIES - EMPLOYEES)]
    ids = config.get_proxy("party.party").create([{"name": name} for name in names], config.context)
    return [int(i) for i in ids]


def make_employees(config: Any, rng: random.Random, company: int, parties: list[int]) -> list[int]:
    """One employee per party; the first ten lead the others; one in twelve has left."""
    proxy = config.get_proxy("company.employee")
    records = [employee_values(rng, company, party) for party in parties]
    ids = [int(i) for i in proxy.create(records, config.context)]
    for leader in ids[:10]:
        team = [i for i in ids[10:] if i % 10 == leader % 10]
        proxy.write(team, {"supervisor": leader}, config.context)
    return ids


def employee_values(rng: random.Random, company: int, party: int) -> dict[str, Any]:
    started = dt.date(2012, 1, 1) + dt.timedelta(days=rng.randrange(5000))
    values: dict[str, Any] = {"party": party, "company": company, "start_date": started}
    if rng.random() < 1 / 12:
        values["end_date"] = started + dt.timedelta(days=rng.randrange(200, 900))
    return values


def make_moves(
    config: Any, rng: random.Random, company: int, accounts: dict[str, int], parties: list[int]
) -> list[int]:
    """Sales of two lines each; nine in ten are posted, the others stay drafts for the live edits to post."""
    proxy = config.get_proxy("account.move")
    facts = move_facts(config, accounts)
    records = [move_values(rng, company, facts, rng.choice(parties)) for _ in range(MOVES)]
    ids = [int(i) for i in proxy.create(records, config.context)]
    proxy.post([i for i in ids if i % 10], config.context)
    return ids


def move_facts(config: Any, accounts: dict[str, int]) -> dict[str, Any]:
    """What every move refers to: account ids, journal, and the period of each month."""
    (journal,) = Model.get("account.journal").find([("type", "=", "revenue")], limit=1)
    periods = Model.get("account.period").find([("start_date", ">=", dt.date(YEAR, 1, 1))])
    return {**accounts, "journal": int(journal.id), "periods": {p.start_date.month: int(p.id) for p in periods}}


def move_values(rng: random.Random, company: int, facts: dict[str, Any], party: int) -> dict[str, Any]:
    """A sale on credit: receivable against revenue."""
    date = dt.date(YEAR, 1, 1) + dt.timedelta(days=rng.randrange(360))
    amount = Decimal(rng.randrange(500, 2_000_000)) / 100
    nothing = Decimal("0.00")
    debit = {"account": facts["receivable"], "debit": amount, "credit": nothing, "party": party}
    credit = {"account": facts["revenue"], "debit": nothing, "credit": amount}
    return {
        "company": company,
        "journal": facts["journal"],
        "period": facts["periods"][date.month],
        "date": date,
        "lines": [("create", [debit, credit])],
    }


if __name__ == "__main__":
    sys.exit(main())
