"""JSON Schemas of records, compared with what sources send. A schema without `$schema` is of draft 2020-12."""

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
    """The schema in `file`. Raises SettingsError where the file cannot be read or is no schema."""

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
        # An empty registry: without one, a reference to an address would be fetched from the network.
        self._validator = kind(schema, registry=Registry())

    def violations(self, value: Any) -> list[str]:
        """The rules of the schema that `value` breaks, each as its path in the schema: no text of `value` is quoted.

        At most `VIOLATIONS_MAX`. Raises nothing: a schema that cannot be applied is itself a violation.
        """
        try:
            errors = islice(self._validator.iter_errors(value), VIOLATIONS_MAX)
            return ["/".join(map(str, error.absolute_schema_path)) for error in errors]
        except Exception as error:  # references that lead nowhere, patterns that Python does not take, endless nesting
            return [f"the schema cannot be applied ({type(error).__name__})"]
