"""Checks records of sources against a JSON Schema. A schema without `$schema` follows draft 2020-12.

A schema is read without the network and without other files: a reference must lead to a place in its own file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema
import orjson
from jsonschema.validators import extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from sluice.errors import SettingsError

VIOLATIONS_MAX = 5
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class JsonSchema:
    """The JSON Schema in `file`.

    Raises SettingsError if the file cannot be read or is not a JSON Schema, or if one of its references leads to no
    place in the file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        schema = _json_of(file)
        try:
            if not isinstance(schema, dict | bool):
                raise _refused(file, "it is no JSON object")
            if isinstance(schema, dict) and not isinstance(schema.get("$schema", ""), str):
                raise _refused(file, "its member $schema is not a text")
            kind = validator_for(schema, default=jsonschema.Draft202012Validator)
            kind.check_schema(schema)
            _check_references(file, schema, specification_with(str(kind.META_SCHEMA["$schema"])))
        except jsonschema.SchemaError as error:
            raise _refused(file, error.message) from None
        except RecursionError:
            raise _refused(file, "it is nested too deeply") from None
        checked = extend(kind, {"uniqueItems": _unique_items})
        # The registry is empty, so that jsonschema does not fetch a referenced schema from the network.
        self._validator = checked(schema, registry=Registry())
        self._bounded_validator = extend(checked, _WITHOUT_PATTERNS)(schema, registry=Registry())

    def violations(self, value: Any, *, patterns: bool = True) -> list[str]:
        """The rules of the schema that `value` breaks, at most `VIOLATIONS_MAX`. Each rule is its path in the schema.

        `patterns`: whether regular expressions are applied. The time of some (`^(a+)+$`) doubles with each character of
        a text, and Python stops all threads meanwhile. So a caller that must not wait passes False. Then the rules
        `pattern`, `patternProperties` and `unevaluatedProperties` are not checked, and `additionalProperties` is not
        checked next to `patternProperties`.

        The result quotes nothing of `value`. This method raises no error: if the schema cannot be applied, that is the
        only violation.
        """
        validator = self._validator if patterns else self._bounded_validator
        try:
            errors = islice(validator.iter_errors(value), VIOLATIONS_MAX)
            return ["/".join(map(str, error.absolute_schema_path)) for error in errors]
        except Exception as error:  # a reference to itself without an end, a record that is nested too deeply
            return [f"the schema cannot be applied ({type(error).__name__})"]


def _json_of(file: Path) -> Any:
    try:
        text = file.read_bytes()
        return orjson.loads(text)
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        if text.startswith(_BYTE_ORDER_MARK):
            why = "is not JSON: it begins with a byte order mark. Next: save it as UTF-8 without a byte order mark"
            raise SettingsError(f"{file}:1:1: {why}") from None
        why = f"is not JSON: {error.msg}. Next: correct the file at this line and column"
        raise SettingsError(f"{file}:{error.lineno}:{error.colno}: {why}") from None


def _refused(file: Path, why: str, next_step: str = "correct the schema") -> SettingsError:
    return SettingsError(f"{file}: is not a JSON Schema: {why}. Next: {next_step}")


def _check_references(file: Path, schema: Any, specification: Any) -> None:
    """Raises SettingsError if a reference in `schema` leads nowhere. Removes the members `$schema` from `schema`.

    `specification`: that of its draft.
    """
    root = specification.create_resource(schema)
    waiting = [(root, Registry().resolver_with_root(root))]
    while waiting:
        resource, resolver = waiting.pop()
        contents = resource.contents
        if isinstance(contents, dict):
            for reference in (contents[name] for name in _REFERENCES if isinstance(contents.get(name), str)):
                try:
                    resolver.lookup(reference)
                except Unresolvable:
                    why = f"the reference {reference} leads to no place in this file; other files are not read"
                    raise _refused(file, why, "copy what it refers to into $defs of this file") from None
            # jsonschema would check a part that names its draft with the plain class of that draft.
            contents.pop("$schema", None)
        waiting += [(one, resolver.in_subresource(one)) for one in resource.subresources()]


def _unique_items(_: Any, wanted: Any, items: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    """The rule `uniqueItems` in linear time: jsonschema compares each object with all others (3,000 take 16 s).

    1 and 1.0 count as different here.
    """
    if wanted and isinstance(items, list):
        texts = {json.dumps(item, sort_keys=True, default=str) for item in items}
        if len(texts) < len(items):
            yield jsonschema.ValidationError("items are not unique")


def _not_checked(*_: Any) -> Iterator[jsonschema.ValidationError]:
    return iter(())


def _additional_properties(
    validator: Any, wanted: Any, value: Any, schema: Any
) -> Iterator[jsonschema.ValidationError]:
    if "patternProperties" in schema:
        return
    yield from jsonschema.Draft202012Validator.VALIDATORS["additionalProperties"](validator, wanted, value, schema)


_WITHOUT_PATTERNS = {
    "pattern": _not_checked,
    "patternProperties": _not_checked,
    "unevaluatedProperties": _not_checked,
    "additionalProperties": _additional_properties,
}
