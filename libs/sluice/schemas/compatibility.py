"""May a schema follow another on a topic that people read? Stricter than the registry, which lets scales change.

Avro's own checker compares only the bytes below a logical type: money read a hundred times wrong passes it.
"""

from typing import Any

_FACTS = ("type", "logicalType", "precision", "scale")


def check_compatible(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Reasons why readers of `old` and `new` could not both read the topic; empty when they can.

    Adding or removing a nullable field with default null is compatible. Everything else about a field must stay.
    """
    reasons = []
    if _full_name(old) != _full_name(new):
        reasons.append(f"the record is called {_full_name(new)}, and was {_full_name(old)}")
    return reasons + _compare_fields("", old, new, _definitions(old), _definitions(new))


def _compare_fields(
    path: str, old: dict[str, Any], new: dict[str, Any], known: dict[str, Any], known_new: dict[str, Any]
) -> list[str]:
    before = {field["name"]: field for field in old["fields"]}
    after = {field["name"]: field for field in new["fields"]}
    reasons = []
    for name in before.keys() - after.keys():
        if not _has_default(before[name]):
            reasons.append(f"{path}{name} is gone, and readers of the old schema require it")
    for name in after.keys() - before.keys():
        if not _has_default(after[name]):
            reasons.append(f"{path}{name} is new and not nullable, so old records could not be read")
    for name in before.keys() & after.keys():
        reasons += _compare(f"{path}{name}", before[name]["type"], after[name]["type"], known, known_new)
    return sorted(reasons)


def _compare(path: str, old: Any, new: Any, known: dict[str, Any], known_new: dict[str, Any]) -> list[str]:
    old, old_nullable = _resolved(old, known)
    new, new_nullable = _resolved(new, known_new)
    if old_nullable != new_nullable:
        return [f"{path} {'is nullable now' if new_nullable else 'is not nullable any more'}"]
    changed = [fact for fact in _FACTS if old.get(fact) != new.get(fact)]
    if changed:
        return [f"{path} has {fact} {new.get(fact)}, and had {old.get(fact)}" for fact in changed]
    if old["type"] == "record":
        return _compare_fields(f"{path}.", old, new, known, known_new)
    if old["type"] == "array":
        return _compare(f"{path}[]", old["items"], new["items"], known, known_new)
    return []


def _resolved(schema: Any, known: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """A type as a dict, names resolved, and whether null stands beside it."""
    if isinstance(schema, list):
        inner = [branch for branch in schema if branch != "null"]
        return _resolved(inner[0], known)[0] if len(inner) == 1 else {"type": str(schema)}, "null" in schema
    if isinstance(schema, str):
        return known.get(schema, {"type": schema}), False
    return schema, False


def _definitions(schema: Any, namespace: str = "") -> dict[str, Any]:
    """Named types in a schema by full name; a namespace holds for what is inside."""
    found: dict[str, Any] = {}
    if isinstance(schema, dict):
        namespace = schema.get("namespace", namespace)
        if schema.get("type") == "record":
            found[f"{namespace}.{schema.get('name')}"] = schema
        for part in schema.values():
            found |= _definitions(part, namespace)
    elif isinstance(schema, list):
        for part in schema:
            found |= _definitions(part, namespace)
    return found


def _full_name(schema: dict[str, Any]) -> str:
    return f"{schema.get('namespace', '')}.{schema.get('name')}"


def _has_default(field: dict[str, Any]) -> bool:
    return "default" in field
