"""The contract of an entity, read once from its class: fields, types, identity, survivorship rules.

Everything downstream (mapper, merger, Avro, table) works from this value and never from the pydantic class.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sluice.entities.claim_encoder import ClaimEncoder, claim_encoder
from sluice.entities.declaration import require_name, require_version
from sluice.entities.encoders import Encode, encoder
from sluice.entities.field_types import FieldType, field_type
from sluice.entities.rules import MostRecent, Prefer, Rule, SourceOrder
from sluice.entities.values import UNCLAIMED, Identity, trimmed
from sluice.errors import DeadRecord, SettingsError

if TYPE_CHECKING:
    from sluice.entities.entity import Entity

_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_RESERVED = frozenset({"contract", "entity_id"})
# Postgres cuts off longer names. `<entity>_provenance` and `sluice_del_<entity>` are names too.
_POSTGRES_NAME_MAX = 63
_ENTITY_NAME_MAX = _POSTGRES_NAME_MAX - len("_provenance")
_POSTGRES_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})  # of every table
# the id is an index key in the golden table, and Postgres allows index keys up to 2,704 bytes
_ENTITY_ID_BYTES_MAX = 1024


@dataclass(frozen=True, eq=False)
class EntityContract:
    """The definition of an entity that mappings, the merger and every reader of `canonical.<entity>` share.

    Each entity class has one contract object. `==` compares objects; compare `fingerprint` to compare the content.
    """

    name: str
    record_name: str  # the name of the entity's class, which the Avro record has too
    version: int
    fields: Mapping[str, FieldType]
    identity: str
    identity_marker: Identity
    rules: Mapping[str, Rule]

    @cached_property
    def encoders(self) -> dict[str, Encode]:
        return {name: encoder(f"{self.name}.{name}", kind) for name, kind in self.fields.items()}

    @cached_property
    def claim_encoder(self) -> ClaimEncoder:
        return claim_encoder(self)

    @cached_property
    def required(self) -> tuple[str, ...]:
        return tuple(name for name, kind in self.fields.items() if not kind.nullable)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of fields, types and rules. If it changes, every entity is merged again."""
        facts = {
            "name": self.name,
            "identity": self.identity,
            "fields": {name: _facts(kind) for name, kind in self.fields.items()},
            "order": list(self.fields),
            "rules": {name: rule.name for name, rule in self.rules.items()},
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def entity_id(self, identity: object) -> str:
        """The entity's id: the normalised identity value. Raises DeadRecord if it is null, empty or too long."""
        if type(identity) is str and identity.isascii() and self.identity_marker.normalise is trimmed:
            # the common case, without the calls below: an ASCII text is in NFC
            entity_id = identity.strip()
            if 0 < len(entity_id) <= _ENTITY_ID_BYTES_MAX and "\0" not in identity:
                return entity_id
        encode = self.encoders[self.identity]
        encoded = encode(identity)
        try:
            normalised = self.identity_marker.normalise(encoded)
        except (DeadRecord, MemoryError):
            raise
        except (Exception, SystemExit) as error:  # an author's function may raise anything
            reason = f"{type(error).__name__} while {self.name}.{self.identity} was normalised"
            raise DeadRecord("mapping-failed", reason) from None
        normalised = str(encode(normalised))
        if not normalised:
            raise DeadRecord("missing-identity", f"{self.name}.{self.identity} is empty")
        if len(normalised.encode()) > _ENTITY_ID_BYTES_MAX:
            raise DeadRecord("identity-too-long", f"{self.name}.{self.identity} is over {_ENTITY_ID_BYTES_MAX} bytes")
        return normalised


def _facts(kind: FieldType) -> dict[str, Any]:
    """The facts of a type that count for the fingerprint. `item` is left out if it is None: a contract without lists
    keeps the fingerprint that it had in older versions, which had no lists."""
    return {name: value for name, value in asdict(kind).items() if name != "item" or value is not None}


def contract_of(entity: "type[Entity]", name: str, version: int) -> EntityContract:
    """Read the contract from an entity's class. Raises SettingsError naming the class and the field."""
    fields: dict[str, FieldType] = {}
    rules: dict[str, Rule] = {}
    identities: dict[str, Identity] = {}
    _no_overrides(entity)
    require_version(f"{entity.__module__}.{entity.__name__}", version)
    require_name(f"{entity.__module__}.{entity.__name__}", "name", name)
    for field, info in entity.model_fields.items():
        where = f"{entity.__module__}.{entity.__name__}.{field}"
        if not _FIELD_NAME.match(field) or field in _RESERVED:
            raise SettingsError(f"{where}: a field's name is [a-z][a-z0-9_]*, but not {' or '.join(sorted(_RESERVED))}")
        try:
            fields[field], markers = field_type(info.annotation, info.metadata)
        except TypeError as error:
            raise SettingsError(f"{where}: {error}") from None
        if not info.is_required() and info.default is not UNCLAIMED:
            raise SettingsError(
                f"{where}: its default is never claimed, since a mapping claims what it gives. "
                "Next: make it UNCLAIMED, or remove it if every mapping must give the field"
            )
        if info.alias or info.validation_alias:
            raise SettingsError(
                f"{where}: it has an alias, but a mapping claims a field by its name. Next: remove the alias, or give "
                "it to the raw model"
            )
        rules[field] = _rule(where, markers)
        identities.update((field, marker) for marker in markers if isinstance(marker, Identity))
    identity = _identity(entity, fields, identities)
    _require_table(entity, name, fields)
    return EntityContract(name, entity.__name__, version, fields, identity, identities[identity], rules)


def _no_overrides(entity: "type[Entity]") -> None:
    where, config = f"{entity.__module__}.{entity.__name__}", entity.model_config
    if config.get("extra") != "forbid":
        raise SettingsError(
            f'{where}: extra="{config.get("extra")}" accepts misspelt fields, and drops what they claim. '
            "Next: remove extra from the configuration of the class"
        )
    if config.get("alias_generator") is not None:
        raise SettingsError(
            f"{where}: alias_generator renames the fields, but a mapping claims a field by its name. "
            "Next: remove alias_generator, or give it to the raw model"
        )


def _rule(where: str, markers: list[object]) -> Rule:
    found = [marker for marker in markers if isinstance(marker, Prefer | MostRecent)]
    if len(found) > 1:
        raise SettingsError(f"{where}: has {len(found)} survivorship rules; a field has one")
    return found[0] if found else SourceOrder()


def _identity(entity: "type[Entity]", fields: dict[str, FieldType], identities: dict[str, Identity]) -> str:
    where = f"{entity.__module__}.{entity.__name__}"
    if len(identities) != 1:
        raise SettingsError(f"{where}: needs exactly one field marked Identity()")
    (identity,) = identities
    if fields[identity].kind != "string" or fields[identity].nullable:
        raise SettingsError(
            f"{where}.{identity}: an identity is a str, neither another type nor None. "
            "Next: declare str, and convert it in the mapping: str(raw.id)"
        )
    if not entity.model_fields[identity].is_required():
        raise SettingsError(f"{where}.{identity}: every mapping gives it. Next: remove the default")
    return identity


def _require_table(entity: type, name: str, fields: dict[str, FieldType]) -> None:
    """Raises SettingsError if Postgres cannot have the golden table of an entity.

    Postgres cuts off longer names, so that two entities could share a temporary table of the sink.
    """
    where = f"{entity.__module__}.{entity.__name__}"
    if len(name) > _ENTITY_NAME_MAX:
        raise SettingsError(
            f"{where}: its name has more than {_ENTITY_NAME_MAX} characters. Next: give it a shorter one"
        )
    columns = ["entity_id"]
    for field, kind in fields.items():
        columns += [f"{field}_amount", f"{field}_currency"] if kind.kind == "money" else [field]
    doubled = sorted({column for column in columns if columns.count(column) > 1})
    if doubled:
        raise SettingsError(f"{where}: the table would have column {doubled[0]} twice. Next: rename a field")
    for column in columns:
        if column in _POSTGRES_COLUMNS or len(column) > _POSTGRES_NAME_MAX:
            why = "is Postgres's own" if column in _POSTGRES_COLUMNS else f"has over {_POSTGRES_NAME_MAX} characters"
            raise SettingsError(f"{where}: the name of column {column} {why}. Next: rename the field")
