"""A pipeline of two sources and one entity, small enough to make its logs by hand: CRM is polled, ERP is followed."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel

from sluice.entities import UNCLAIMED, Entity, Identity, Money, mapping, most_recent, prefer


class Person(Entity):
    number: Annotated[str, Identity(str.upper)]
    name: str = UNCLAIMED
    email: str | None = UNCLAIMED
    notes: Annotated[str | None, prefer("erp", "crm")] = UNCLAIMED
    pay: Money | None = UNCLAIMED
    city: Annotated[str | None, most_recent()] = UNCLAIMED


class CrmPerson(BaseModel):
    id: str
    name: str
    email: str | None = None
    city: str | None = None
    updated: datetime

    def changed_at(self) -> datetime:
        return self.updated


@mapping(source="crm.people", version=2, effective_at=CrmPerson.changed_at)
def crm_person(raw: CrmPerson) -> Person | None:
    if raw.name == "Test":
        return None
    return Person(number=raw.id, name=raw.name, email=raw.email, city=raw.city)


class ErpStaff(BaseModel):
    id: int
    number: str
    notes: str | None
    pay: Decimal
    since: datetime

    def changed_at(self) -> datetime:
        return self.since


@mapping(source="erp.public.staff", version=1, effective_at=ErpStaff.changed_at)
def erp_staff(raw: ErpStaff) -> Person:
    return Person(number=raw.number, notes=raw.notes, pay=Money(raw.pay, "EUR"))


PIPELINE = """\
pipeline: people
partitions: 2
kafka: {{prefix: {prefix}}}
sources:
  crm: {{poll: "sources.crm.connector:Crm", streams: {{people: {{freshness: 5s}}}}}}
  erp: {{cdc: postgres, dsn: {{env: NOT_SET_FOR_TESTS}}, tables: [public.staff]}}
sinks: {{warehouse: {{postgres: {{file: {dsn_file}}}}}}}
"""
