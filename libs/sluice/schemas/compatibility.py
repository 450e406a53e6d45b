"""Checks whether the schema of a topic may be replaced by another one while readers use both.

The check is stricter than Avro's own, which a registry uses. Avro's check ignores logical types, so it allows a decimal
to change its scale. Readers would then get amounts that are wrong by a factor of a hundred. fastavro resolves both
schemas; the comparison is Sluice's own, because fastavro has none.
"""

from typing import Any

from sluice.schemas.avro import Schema, UnreadableSchema, resolved

_FACTS = ("type", "logicalType", "precision", "scale")


def check_compatible(old: Schema, new: Schema) -> list[str]:
    """The reasons why a topic with records of `old` and `new` cannot be read with both schemas; empty if it can.

    Adding or removing a nullable field with default null is compatible. No other change of a field is compatible.
    """
    try:
        before, old_types = resolved(old)
    except UnreadableSchema as error:
        return [f"the schema that it follows cannot be read: {error}"]
    after, new_types = resolved(new)
    reasons = []
    if before["name"] != after["name"]:
        reasons.append(f"the record is called {after['name']}, and was {before['name']}")
    return reasons + _Comparison(old_types, new_types).fields("", before, after)


class _Comparison:
    """Compares the types of two schemas. `old` and `new`: the named types of each schema, by full name."""

    def __init__(self, old: dict[str, Schema], new: dict[str, Schema]) -> None:
        self._old, self._new = old, new

    def fields(self, path: str, old: Schema, new: Schema) -> list[str]:
        before = {field["name"]: field for field in old["fields"]}
        after = {field["name"]: field for field in new["fields"]}
        reasons = []
        for name in before.keys() - after.keys():
            if "default" not in before[name]:
                reasons.append(f"{path}{name} is missing, and readers of the old schema require it")
        for name in after.keys() - before.keys():
            if "default" not in after[name]:
                reasons.append(f"{path}{name} is new and not nullable, so old records could not be read")
        for name in before.keys() & after.keys():
            reasons += self._types(f"{path}{name}", before[name]["type"], after[name]["type"])
        return sorted(reasons)

    def _types(self, path: str, old: Any, new: Any) -> list[str]:
        old, old_nullable = _definition(old, self._old)
        new, new_nullable = _definition(new, self._new)
        if old_nullable != new_nullable:
            return [f"{path} {'is nullable now' if new_nullable else 'is not nullable any more'}"]
        changed = [fact for fact in _FACTS if old.get(fact) != new.get(fact)]
        if changed:
            return [f"{path} has {fact} {new.get(fact)}, and had {old.get(fact)}" for fact in changed]
        if old["type"] == "record":
            return self.fields(f"{path}.", old, new)
        if old["type"] == "array":
            return self._types(f"{path}[]", old["items"], new["items"])
        return []


def _definition(schema: Any, named: dict[str, Schema]) -> tuple[Schema, bool]:
    """The definition of an Avro type as a dict, and whether the type is nullable.

    A type's name is replaced by the type in `named`.
    """
    if isinstance(schema, list):
        inner = [branch for branch in schema if branch != "null"]
        return _definition(inner[0], named)[0] if len(inner) == 1 else {"type": str(schema)}, "null" in schema
    if isinstance(schema, str):
        return named.get(schema, {"type": schema}), False
    return schema, False
