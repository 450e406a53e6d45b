"""Schemas and their ids from earlier answers of the registry, as small files in the state directory."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import orjson


class Remembered:
    """Files are replaced as a whole, so a process that is killed while it writes leaves the old file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def id_of(self, subject: str, fingerprint: str) -> int | None:
        """The id of a schema of `subject`; None if it is not remembered."""
        known = self._read(_id_file(subject, fingerprint))
        return known["id"] if known and isinstance(known.get("id"), int) else None

    def keep_id(self, subject: str, fingerprint: str, schema_id: int) -> None:
        self._write(_id_file(subject, fingerprint), {"subject": subject, "id": schema_id})

    def schema(self, schema_id: int) -> dict[str, Any] | None:
        """The schema with an id; None if it is not remembered."""
        return self._read(f"schema-{schema_id}.json")

    def keep_schema(self, schema_id: int, schema: dict[str, Any]) -> None:
        self._write(f"schema-{schema_id}.json", schema)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            value = orjson.loads((self._folder / name).read_bytes())
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def _write(self, name: str, value: dict[str, Any]) -> None:
        if self._read(name) == value:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            file.write(orjson.dumps(value))
        os.replace(file.name, self._folder / name)


def _id_file(subject: str, fingerprint: str) -> str:
    return f"id-{hashlib.sha256(f'{subject} {fingerprint}'.encode()).hexdigest()[:32]}.json"
