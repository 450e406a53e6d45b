"""What an author of entities and mappings writes with: contracts, survivorship rules, mappings.

First in the flow after raw: the mapper applies mappings, the merger the rules, schemas and tables follow the contract.
"""

from sluice.entities.contract import EntityContract
from sluice.entities.debezium_types import EpochDate, JsonText, MicroTimestamp, MilliTimestamp
from sluice.entities.entity import Entity
from sluice.entities.field_types import FieldType
from sluice.entities.mapping import Claim, Mapping, Output, mapping
from sluice.entities.rules import MostRecent, Prefer, Rule, SourceOrder, most_recent, prefer
from sluice.entities.values import UNCLAIMED, Identity, Json, Money, OpenEnum, Scale, Unit

__all__ = [
    "UNCLAIMED",
    "Claim",
    "Entity",
    "EntityContract",
    "EpochDate",
    "FieldType",
    "Identity",
    "Json",
    "JsonText",
    "Mapping",
    "MicroTimestamp",
    "MilliTimestamp",
    "Money",
    "MostRecent",
    "OpenEnum",
    "Output",
    "Prefer",
    "Rule",
    "Scale",
    "SourceOrder",
    "Unit",
    "mapping",
    "most_recent",
    "prefer",
]
