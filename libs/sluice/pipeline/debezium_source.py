"""Completes a followed source of the pipeline file from its `debezium` settings: connection, tables, slot, publication.

The settings are members of the pipeline file, or the JSON file of a connector's configuration. A password in the
pipeline file is a reference. A connector's own file is taken as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import Field, SerializeAsAny

from sluice.debezium_settings import DebeziumSettings, read_settings
from sluice.debezium_settings.read import SECRET_SETTINGS
from sluice.debezium_settings.selection import not_selected, plain_tables, wrong_pattern
from sluice.errors import SettingsError
from sluice.pipeline.secret import Secret

# libpq's keyword for each setting of the connection.
_KEYWORDS = {
    "database.hostname": "host",
    "database.port": "port",
    "database.user": "user",
    "database.password": "password",
    "database.dbname": "dbname",
    "database.sslmode": "sslmode",
    "database.sslcert": "sslcert",
    "database.sslkey": "sslkey",
    "database.sslpassword": "sslpassword",
    "database.sslrootcert": "sslrootcert",
}
_REQUIRED = ("database.hostname", "database.user", "database.dbname")
_PROVIDER = re.compile(r"\$\{(\w+):(?:(.*):)?([^:}]*)\}", re.DOTALL)
_LISTS = ("table.include.list", "table.exclude.list", "schema.include.list", "schema.exclude.list")


class PropertyOfFile(Secret):
    """A property of a file with lines `key=value`, as Kafka Connect's FileConfigProvider reads it."""

    key: str

    def reveal(self) -> str:
        """The property's value. Raises SettingsError if the file cannot be read or lacks the property."""
        for line in Secret(file=self.file).reveal().splitlines():
            key, equals, value = line.partition("=")
            if equals and key.strip() == self.key:
                return value.strip()
        raise SettingsError(f"secret file {self.file}: it has no property {self.key}, and the pipeline refers to it")


class WrittenText(Secret):
    """A text that a connector's own configuration file contains."""

    text: str = Field(repr=False, exclude=True)

    def _is_whole(self) -> bool:
        return True

    def reveal(self) -> str:
        return self.text


class DebeziumConnection(Secret):
    """The connection that the settings `database.*` describe. `parts`: the value of each keyword of libpq."""

    parts: Mapping[str, SerializeAsAny[Secret]] = Field(repr=False)

    def _is_whole(self) -> bool:
        return True

    def reveal(self) -> str:
        """The DSN. Raises SettingsError if a secret's variable or file is missing or empty."""
        return " ".join(f"{keyword}={_quoted(part.reveal())}" for keyword, part in self.parts.items())


def completed_source(written: Any, root: Path) -> Any:
    """The members of a followed source, with those that follow from its member `debezium`.

    `root`: the pipeline's folder, in which the path of a connector's configuration begins. Raises ValueError that names
    the settings that are wrong, or that contradict a member of the pipeline file.
    """
    if not isinstance(written, dict) or written.get("debezium") is None:
        return written
    given = written["debezium"]
    if isinstance(given, DebeziumSettings):
        return written
    own_file = isinstance(given, str)
    members = _configuration(root / given) if isinstance(given, str) else given
    if not isinstance(members, dict):
        raise ValueError("debezium: settings by their names, or the path of a connector's JSON configuration")
    secrets = {name: Secret.model_validate(members[name]) for name in SECRET_SETTINGS if _is_reference(members, name)}
    try:
        settings = read_settings({**members, **dict.fromkeys(secrets, "")})
    except ValueError as error:
        raise ValueError(f"debezium: {error}") from None
    source = {**written, "debezium": settings.without(SECRET_SETTINGS)}
    if "dsn" not in source:
        source["dsn"] = _connection(settings, secrets, own_file=own_file)
    source["tables"] = _tables(settings, source.get("tables"))
    for member, name in (("slot", "slot.name"), ("publication", "publication.name")):
        _merge(source, member, settings, name)
    return source


def _configuration(file: Path) -> Any:
    try:
        return orjson.loads(file.read_bytes())
    except OSError as error:
        raise ValueError(f"debezium: {file}: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"debezium: {file}: it is not JSON") from None


def _is_reference(members: Mapping[str, Any], name: str) -> bool:
    return isinstance(members.get(name), dict)


def _connection(settings: DebeziumSettings, secrets: Mapping[str, Secret], *, own_file: bool) -> DebeziumConnection:
    missing = [name for name in _REQUIRED if not settings.is_given(name)]
    if missing:
        raise ValueError(f"debezium: without dsn, {' and '.join(missing)} are required")
    parts: dict[str, Secret] = {"port": WrittenText(text=settings.text("database.port") or "")}
    for name, keyword in _KEYWORDS.items():
        if name in secrets:
            parts[keyword] = secrets[name]
        elif settings.is_given(name):
            parts[keyword] = _part(name, settings.given[name], own_file=own_file)
    if not settings.flag("database.tcpKeepAlive"):
        parts["keepalives"] = WrittenText(text="0")
    return DebeziumConnection(parts=parts)


def _part(name: str, value: str, *, own_file: bool) -> Secret:
    reference = _PROVIDER.fullmatch(value)
    if reference is not None:
        return _provided(name, *reference.groups())
    if name in SECRET_SETTINGS and not own_file:
        raise ValueError(f"debezium: {name}: write ${{env:NAME}} or {{env: NAME}}, never the secret itself")
    return WrittenText(text=value)


def _provided(name: str, provider: str, path: str | None, key: str) -> Secret:
    """The secret that a reference of Kafka Connect's config providers means: `${env:NAME}`, `${file:path:key}`,
    `${dir:path:file}`."""
    if provider == "env" and path is None:
        return Secret(env=key)
    if provider == "file" and path is None:
        return Secret(file=Path(key))
    if provider == "file":
        return PropertyOfFile(file=Path(path or ""), key=key)
    if provider in ("dir", "directory") and path is not None:
        return Secret(file=Path(path) / key)
    raise ValueError(f"debezium: {name}: a reference is ${{env:NAME}}, ${{file:path:key}} or ${{dir:path:file}}")


def _tables(settings: DebeziumSettings, written: Any) -> Any:
    """The followed tables: those that the pipeline file lists, else those that `table.include.list` names."""
    for name in _LISTS:
        wrong = wrong_pattern(settings, name)
        if wrong:
            raise ValueError(f"debezium: {wrong}")
    tables = plain_tables(settings) if written is None else written
    if tables is None:
        raise ValueError(
            "debezium: table.include.list does not say the names of the tables, which topics are made from. Next: list "
            "them in tables:, next to debezium:"
        )
    for table in tables if isinstance(tables, list) else ():
        lacking = not_selected(settings, str(table))
        if lacking:
            raise ValueError(f"debezium: {lacking} leaves out {table}. Next: remove {table} from tables:, or change it")
    return tables


def _merge(source: dict[str, Any], member: str, settings: DebeziumSettings, name: str) -> None:
    if not settings.is_given(name):
        return
    if source.setdefault(member, settings.given[name]) != settings.given[name]:
        raise ValueError(f"debezium: {name} and {member}: differ. Next: write one of them")


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
