"""Checks records of sources against a JSON Schema. A schema without `$schema` follows draft 2020-12."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema
import orjson
from jsonschema.validators import validator_for
from referencing import Registry

from sluice.errors import SettingsError

VIOLATIONS_MAX = 5


class JsonSchema:
    """The JSON Schema in `file`. Raises SettingsError if the file cannot be read or is not a JSON Schema."""

    def __init__(self, file: Path) -> None:
        try:
            schema = orjson.loads(file.read_bytes())
            kind = validator_for(schema, default=jsonschema.Draft202012Validator)
            kind.check_schema(schema)
        except OSError as error:
            raise SettingsError(f"{file}: {error.strerror}") from None
        except (ValueError, TypeError):
            raise SettingsError(f"{file}: is not JSON") from None
        except jsonschema.SchemaError as error:
            raise SettingsError(f"{file}: is not a JSON Schema: {error.message}") from None
        self.file = file
        # The registry is empty, so that jsonschema does not fetch a referenced schema from the network.
        self._validator = kind(schema, registry=Registry())

    def violations(self, value: Any) -> list[str]:
        """The rules of the schema that `value` breaks, at most `VIOLATIONS_MAX`. Each rule is its path in the schema.

        The result quotes nothing of `value`. This method raises no error: if the schema cannot be applied, that is the
        only violation.
        """
        try:
            errors = islice(self._validator.iter_errors(value), VIOLATIONS_MAX)
            return ["/".join(map(str, error.absolute_schema_path)) for error in errors]
        except Exception as error:  # a reference without a target, a pattern that Python refuses, endless nesting
            return [f"the schema cannot be applied ({type(error).__name__})"]
