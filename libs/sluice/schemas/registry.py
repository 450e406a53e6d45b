"""A client of a Confluent-compatible schema registry that stores the schemas and ids that it has read on disk.

The client asks the registry first, because a new registry can have other ids. If the registry does not answer, the
client uses the stored schemas and ids. So an outage of the registry stops no process that has run before.
"""

import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import orjson

from sluice.errors import DeadRecord, EnvironmentFault, SettingsError
from sluice.http import HttpClient, Limits, NoAnswer, basic_credentials


class Remembered:
    """Schemas and schema ids from earlier answers of the registry, stored as small files in the folder `folder`.

    Each file is replaced as a whole. So if a process is killed while it writes a file, the old file remains.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def id_of(self, subject: str, fingerprint: str) -> int | None:
        """The stored id of the schema with `fingerprint` under `subject`; None if no id is stored."""
        known = self._read(_id_file(subject, fingerprint))
        return known["id"] if known and isinstance(known.get("id"), int) else None

    def keep_id(self, subject: str, fingerprint: str, schema_id: int) -> None:
        self._write(_id_file(subject, fingerprint), {"subject": subject, "id": schema_id})

    def schema(self, schema_id: int) -> dict[str, Any] | None:
        """The stored schema with `schema_id`; None if no schema is stored for this id."""
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


_LIMITS = Limits(body_bytes_max=4 * 1024 * 1024, deadline_s=10.0, connect_timeout_s=2.0, read_timeout_s=5.0)
_RETRY_INTERVAL_S = 0.2
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_HEADERS = {"Content-Type": _CONTENT_TYPE, "Accept": f"{_CONTENT_TYPE}, application/json"}
_NOT_FOUND = 404
_CONFLICT = 409


class Refused(Exception):
    """The schema registry answered a request with an error: HTTP `status`, and the registry's own error `code`."""

    def __init__(self, status: int, code: int) -> None:
        super().__init__(f"status {status}, error code {code}")
        self.status = status
        self.code = code


class Unreachable(EnvironmentFault):
    """The schema registry does not answer."""


class Registry:
    """A client of the schema registry at `url` (the address without `/subjects`).

    `cache_dir`: the folder for stored answers, which must survive restarts. `retry_for_s`: a request without an answer,
    or with status 5xx, is repeated for this time. A registry that has just started answers its first requests slowly.
    Each method blocks, and raises EnvironmentFault if the registry does not answer.
    """

    def __init__(self, url: str, cache_dir: Path, retry_for_s: float = 0.0) -> None:
        self._retry_for_s = retry_for_s
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError("the registry's address, SLUICE_REGISTRY__URL, begins with http:// or https://")
        self._where = f"schema registry {parts.scheme}://{parts.hostname}:{parts.port or ''}{parts.path}"
        self._remembered = Remembered(cache_dir)
        self._url = url.rstrip("/")
        self._headers = dict(_HEADERS)
        if parts.username or parts.password:
            credentials = basic_credentials(unquote(parts.username or ""), unquote(parts.password or ""))
            self._headers["Authorization"] = f"Basic {credentials}"
        self._http = HttpClient(_LIMITS)

    def close(self) -> None:
        self._http.close()

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        """Register a schema under `subject` and return the schema's id. Registering a schema again changes nothing.

        Raises EnvironmentFault if the registry refuses the schema or does not answer.
        """
        try:
            answer = self._ask("POST", f"subjects/{quote(subject, safe='')}/versions", _body(schema))
        except Refused as refused:
            why = "is incompatible with a version there" if refused.status == _CONFLICT else f"was refused ({refused})"
            raise self._fault(f"the schema of {subject} {why}", "compare it with `sluice schemas check`") from None
        return self._keep(subject, schema, answer)

    def registered_id(self, subject: str, schema: dict[str, Any]) -> int:
        """As `register`; the stored id if the registry does not answer and the schema was registered before."""
        try:
            return self.register(subject, schema)
        except Unreachable:
            known = self._remembered.id_of(subject, fingerprint(schema))
            if known is None:
                raise
            return known

    def lookup_id(self, subject: str, schema: dict[str, Any]) -> int:
        """The id under which `schema` is registered for `subject`; the stored id if the registry does not answer.

        Raises EnvironmentFault if the schema is not registered, or if the registry does not answer and no id is stored.
        """
        try:
            return self._keep(subject, schema, self._ask("POST", f"subjects/{quote(subject, safe='')}", _body(schema)))
        except Refused as refused:
            if refused.status != _NOT_FOUND:
                raise self._fault(f"looking up {subject} failed ({refused})", "read the registry's log") from None
            raise self._fault(f"the schema of {subject} is not registered", "run `sluice schemas apply`") from None
        except Unreachable:
            known = self._remembered.id_of(subject, fingerprint(schema))
            if known is None:
                raise
            return known

    def by_id(self, schema_id: int) -> dict[str, Any]:
        """The schema with `schema_id`; the stored schema if the registry does not answer.

        Raises DeadRecord (unknown-schema) if the registry has no such id. Raises EnvironmentFault if the registry does
        not answer and the schema is not stored.
        """
        try:
            answer = self._ask("GET", f"schemas/ids/{schema_id}")
            schema: dict[str, Any] = orjson.loads(answer["schema"])
        except Refused as refused:
            if refused.status != _NOT_FOUND:
                raise self._fault(f"schema {schema_id} was refused ({refused})", "read the registry's log") from None
            raise DeadRecord("unknown-schema", f"the registry has no schema {schema_id}") from None
        except Unreachable:
            known = self._remembered.schema(schema_id)
            if known is None:
                raise
            return known
        self._remembered.keep_schema(schema_id, schema)
        return schema

    def latest(self, subject: str) -> dict[str, Any] | None:
        """The newest registered schema of `subject`; None if the registry has none. Stored schemas are not used."""
        try:
            answer = self._ask("GET", f"subjects/{quote(subject, safe='')}/versions/latest")
        except Refused as refused:
            if refused.status == _NOT_FOUND:
                return None
            raise self._fault(f"reading {subject} failed ({refused})", "read the registry's log") from None
        schema: dict[str, Any] = orjson.loads(answer["schema"])
        return schema

    def require_compatibility(self, subject: str, level: str = "FULL_TRANSITIVE") -> None:
        """Set the compatibility level of `subject`. Then the registry refuses incompatible schemas of other programs.

        FULL_TRANSITIVE: readers with any registered schema can read records of any other.
        """
        try:
            self._ask("PUT", f"config/{quote(subject, safe='')}", {"compatibility": level})
        except Refused as refused:
            raise self._fault(f"setting compatibility of {subject} failed ({refused})", "check its rights") from None

    def _keep(self, subject: str, schema: dict[str, Any], answer: dict[str, Any]) -> int:
        schema_id = int(answer["id"])
        self._remembered.keep_id(subject, fingerprint(schema), schema_id)
        self._remembered.keep_schema(schema_id, schema)
        return schema_id

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request to the registry, repeatedly if needed, and return the JSON object of the answer.

        Raises Refused for status 3xx and 4xx. Raises Unreachable if the registry does not answer, answers 5xx, or the
        answer is not a registry's.
        """
        give_up = time.monotonic() + self._retry_for_s
        while True:
            try:
                return self._ask_once(method, path, body)
            except NoAnswer as error:
                if time.monotonic() > give_up:
                    next_step = error.next_step or "start it, or correct SLUICE_REGISTRY__URL"
                    raise Unreachable(self._where, f"no answer ({error})", next_step) from None
            time.sleep(_RETRY_INTERVAL_S)

    def _ask_once(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        content = None if body is None else orjson.dumps(body)
        status, _, text = self._http.exchange(method, f"{self._url}/{path}", self._headers, content)
        if status >= 500:
            raise NoAnswer(f"status {status}")
        try:
            answer = orjson.loads(text)
        except ValueError:
            answer = None
        if not 200 <= status < 300:
            code = answer.get("error_code", 0) if isinstance(answer, dict) else 0
            raise Refused(status, code if isinstance(code, int) else 0)
        if not isinstance(answer, dict):
            raise NoAnswer("the answer is not a JSON object")
        return answer

    def _fault(self, why: str, next_step: str) -> EnvironmentFault:
        return EnvironmentFault(self._where, why, next_step)


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"schema": orjson.dumps(schema).decode(), "schemaType": "AVRO"}


def fingerprint(schema: dict[str, Any]) -> str:
    """A hash of a schema's JSON. It does not depend on the order of the JSON's members."""
    return hashlib.sha256(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)).hexdigest()
