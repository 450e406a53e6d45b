"""Client of a Confluent-compatible schema registry that remembers on disk what it has seen.

The registry is asked first, since ids can change with a new registry; where it does not answer, what is remembered
serves. So a registry outage stops nothing that has run before.
"""

import hashlib
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import orjson

from sluice.errors import DeadRecord, EnvironmentFault, SettingsError
from sluice.schemas.remembered import Remembered
from sluice.tls import tls_context

_RESPONSE_BYTES_MAX = 4 * 1024 * 1024
_DEADLINE_S = 10.0
_ASKED_AGAIN_AFTER_S = 0.2
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_NOT_FOUND = 404
_CONFLICT = 409


class Refused(Exception):
    """The registry answered, and said no: `status` and its own error code."""

    def __init__(self, status: int, code: int) -> None:
        super().__init__(f"status {status}, error code {code}")
        self.status = status
        self.code = code


class Registry:
    """Schemas by subject and by id. `url` is where `/subjects` begins; `cache_dir` survives restarts.

    Silence and 5xx are borne for `patience_s`: a registry that has just started answers its first requests slowly.
    """

    def __init__(self, url: str, cache_dir: Path, patience_s: float = 0.0) -> None:
        self._patience_s = patience_s
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError("the registry's address, SLUICE_REGISTRY__URL, begins with http:// or https://")
        self._where = f"schema registry {parts.scheme}://{parts.hostname}:{parts.port or ''}{parts.path}"
        self._remembered = Remembered(cache_dir)
        self._http = httpx.Client(
            base_url=url.rstrip("/") + "/",
            timeout=httpx.Timeout(5.0, connect=2.0),
            headers={"content-type": _CONTENT_TYPE, "accept": f"{_CONTENT_TYPE}, application/json"},
            trust_env=False,
            verify=tls_context(),
        )

    def close(self) -> None:
        self._http.close()

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        """Register a schema (again is no change) and return its id.

        Raises EnvironmentFault when the registry is down or refuses it.
        """
        try:
            answer = self._ask("POST", f"subjects/{quote(subject, safe='')}/versions", _body(schema))
        except Refused as refused:
            why = "is incompatible with a version there" if refused.status == _CONFLICT else f"was refused ({refused})"
            raise self._fault(f"the schema of {subject} {why}", "compare it with `sluice schemas check`") from None
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        return self._keep(subject, schema, answer)

    def lookup_id(self, subject: str, schema: dict[str, Any]) -> int:
        """The id under which this schema is registered for `subject`; what is remembered when nobody answers.

        Raises EnvironmentFault when it is not registered, or nobody answers and nothing is remembered.
        """
        try:
            return self._keep(subject, schema, self._ask("POST", f"subjects/{quote(subject, safe='')}", _body(schema)))
        except Refused as refused:
            if refused.status != _NOT_FOUND:
                raise self._fault(f"looking up {subject} failed ({refused})", "read the registry's log") from None
            raise self._fault(f"the schema of {subject} is not registered", "run `sluice schemas apply`") from None
        except httpx.HTTPError as error:
            known = self._remembered.id_of(subject, fingerprint(schema))
            if known is None:
                raise self._unreachable(error) from None
            return known

    def by_id(self, schema_id: int) -> dict[str, Any]:
        """The schema with this id; what is remembered when nobody answers.

        Raises DeadRecord (unknown-schema) where the registry has no such id, EnvironmentFault when nobody answers.
        """
        try:
            answer = self._ask("GET", f"schemas/ids/{schema_id}")
            schema: dict[str, Any] = orjson.loads(answer["schema"])
        except Refused as refused:
            if refused.status != _NOT_FOUND:
                raise self._fault(f"schema {schema_id} was refused ({refused})", "read the registry's log") from None
            raise DeadRecord("unknown-schema", f"the registry has no schema {schema_id}") from None
        except httpx.HTTPError as error:
            known = self._remembered.schema(schema_id)
            if known is None:
                raise self._unreachable(error) from None
            return known
        self._remembered.keep_schema(schema_id, schema)
        return schema

    def latest(self, subject: str) -> dict[str, Any] | None:
        """The newest schema of a subject; None where it has none. Raises EnvironmentFault when the registry is down."""
        try:
            answer = self._ask("GET", f"subjects/{quote(subject, safe='')}/versions/latest")
        except Refused as refused:
            if refused.status == _NOT_FOUND:
                return None
            raise self._fault(f"reading {subject} failed ({refused})", "read the registry's log") from None
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        schema: dict[str, Any] = orjson.loads(answer["schema"])
        return schema

    def require_compatibility(self, subject: str, level: str = "FULL_TRANSITIVE") -> None:
        """Make the registry itself refuse what readers of older or newer schemas could not read."""
        try:
            self._ask("PUT", f"config/{quote(subject, safe='')}", {"compatibility": level})
        except Refused as refused:
            raise self._fault(f"setting compatibility of {subject} failed ({refused})", "check its rights") from None
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None

    def _keep(self, subject: str, schema: dict[str, Any], answer: dict[str, Any]) -> int:
        schema_id = int(answer["id"])
        self._remembered.keep_id(subject, fingerprint(schema), schema_id)
        self._remembered.keep_schema(schema_id, schema)
        return schema_id

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Raises Refused for a 4xx, httpx.HTTPError for silence, a 5xx or an endless answer."""
        give_up = time.monotonic() + self._patience_s
        while True:
            try:
                return self._ask_once(method, path, body)
            except httpx.HTTPError:
                if time.monotonic() > give_up:
                    raise
            time.sleep(_ASKED_AGAIN_AFTER_S)

    def _ask_once(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        content = None if body is None else orjson.dumps(body)
        deadline = time.monotonic() + _DEADLINE_S
        with self._http.stream(method, path, content=content) as response:
            text = bytearray()
            for chunk in response.iter_bytes():
                text += chunk
                if len(text) > _RESPONSE_BYTES_MAX or time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer is too large or too slow")
        if response.status_code >= 500:
            raise httpx.RemoteProtocolError(f"status {response.status_code}")
        try:
            answer = orjson.loads(text)
        except ValueError:
            answer = None
        if not response.is_success:
            code = answer.get("error_code", 0) if isinstance(answer, dict) else 0
            raise Refused(response.status_code, code if isinstance(code, int) else 0)
        if not isinstance(answer, dict):
            raise httpx.RemoteProtocolError("the answer is not a JSON object")
        return answer

    def _fault(self, why: str, next_step: str) -> EnvironmentFault:
        return EnvironmentFault(self._where, why, next_step)

    def _unreachable(self, error: httpx.HTTPError) -> EnvironmentFault:
        return self._fault(f"no answer ({type(error).__name__})", "start it, or correct SLUICE_REGISTRY__URL")


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"schema": orjson.dumps(schema).decode(), "schemaType": "AVRO"}


def fingerprint(schema: dict[str, Any]) -> str:
    """Hash of a schema's JSON, whatever the order of its members."""
    return hashlib.sha256(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)).hexdigest()
