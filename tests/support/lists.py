"""An entity of lists and JSON values, and a record of it, as contributions carry it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from sluice.entities import UNCLAIMED, Entity, Identity, Json, OpenEnum, Scale


class Mood(OpenEnum):
    FINE = "fine"
    UNKNOWN = "unknown"


class Listed(Entity):
    number: Annotated[str, Identity()]
    tags: list[str] = UNCLAIMED
    levels: list[int | None] | None = UNCLAIMED
    prices: list[Annotated[Decimal, Scale(8, 2)]] | None = UNCLAIMED
    seen_at: list[datetime] | None = UNCLAIMED
    days: list[date] | None = UNCLAIMED
    keys: list[bytes] | None = UNCLAIMED
    flags: list[bool] | None = UNCLAIMED
    moods: list[Mood] | None = UNCLAIMED
    about: Json | None = UNCLAIMED


FIELDS: dict[str, Any] = {
    "number": "N-1",
    "tags": ["a,b", '"', "\\", "{}", "NULL", "", "Zoë"],
    "levels": [1, None, -(2**63)],
    "prices": ["1.50", "-0.25"],
    "seen_at": [1704067200000001, -1],
    "days": ["1969-12-31"],
    "keys": ["AAE=", ""],
    "flags": [True, False],
    "moods": ["fine"],
    "about": '{"a":null,"b":[1,2.5,1e+22,1e-7,9223372036854775807],"c":{"d":"\\"x\\"","e":100}}',
}
EMPTY: dict[str, Any] = {**dict.fromkeys(FIELDS), "number": "N-2", "tags": [], "levels": [], "about": "[]"}
