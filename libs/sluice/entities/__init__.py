"""Entities, survivorship rules and mappings: the Python that an author writes.

The mapper applies mappings, and the merger rules. Schemas and tables follow from an entity's contract.
"""

from sluice.entities.claims import Claim, Output
from sluice.entities.contract import EntityContract
from sluice.entities.debezium_types import EpochDate, JsonText, MicroTimestamp, MilliTimestamp
from sluice.entities.entity import Entity
from sluice.entities.mapping import Mapping
from sluice.entities.mapping_decorator import mapping
from sluice.entities.rules import Prefer, most_recent, prefer
from sluice.entities.values import UNCLAIMED, Identity, Json, Money, OpenEnum, Scale, Unit

__all__ = [
    "UNCLAIMED",
    "Claim",
    "Entity",
    "EntityContract",
    "EpochDate",
    "Identity",
    "Json",
    "JsonText",
    "Mapping",
    "MicroTimestamp",
    "MilliTimestamp",
    "Money",
    "OpenEnum",
    "Output",
    "Prefer",
    "Scale",
    "Unit",
    "mapping",
    "most_recent",
    "prefer",
]
