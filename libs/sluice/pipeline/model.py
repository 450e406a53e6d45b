"""The content of a pipeline file as typed, frozen values: sources, entities, sinks. Unknown members are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationInfo,
    model_validator,
)

from sluice.debezium_settings import DebeziumSettings
from sluice.names import NAME_CHARACTERS_MAX, SINK_POSTGRES, Names, name_problem
from sluice.pipeline.debezium_source import completed_source
from sluice.pipeline.secret import Secret, require_secrets

_IN_TOPICS = re.compile(r"[A-Za-z0-9._-]+")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
# Kafka allows at most 249 characters in a topic's name. The longest name of a Sluice topic is
# <prefix>state.mapper.raw.<source>.<table>.
TABLE_CHARACTERS_MAX = 2 * NAME_CHARACTERS_MAX + 1
PREFIX_CHARACTERS_MAX = 249 - len("state.mapper.raw..") - NAME_CHARACTERS_MAX - TABLE_CHARACTERS_MAX
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _name(text: str) -> str:
    problem = name_problem(text)
    if problem:
        raise ValueError(problem)
    return text


def _table(text: str) -> str:
    schema, dot, table = text.partition(".")
    if not (dot and schema and table) or "." in table:
        raise ValueError("a table is written schema.table")
    if not _IN_TOPICS.fullmatch(text):
        raise ValueError("topic names contain it, so it has only letters, digits, _ and -. Next: rename the table")
    if len(text) > TABLE_CHARACTERS_MAX:
        raise ValueError(f"topic names contain it, so it has at most {TABLE_CHARACTERS_MAX} characters")
    return text


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]*", text):
        raise ValueError("topic names start with it, so it has only letters, digits, ., _ and -")
    if len(text) > PREFIX_CHARACTERS_MAX:
        raise ValueError(f"topic names start with it, so it has at most {PREFIX_CHARACTERS_MAX} characters")
    return text


def _own_schema(text: str) -> str:
    if text == "information_schema" or text.startswith("pg_"):
        raise ValueError("that schema is PostgreSQL's own. Next: name another one, which Sluice creates")
    return text


def _module(text: str) -> str:
    if not _MODULE.fullmatch(text):
        raise ValueError("it is the name of a Python module, such as entities or my.entities")
    return text


def _class(text: str) -> str:
    module, _, name = text.partition(":")
    if not (_MODULE.fullmatch(module) and name.isidentifier()):
        raise ValueError("a connector is written package.module:Class")
    return text


def _readable(settings: dict[str, Any]) -> dict[str, Any]:
    require_secrets(settings)
    return settings


def _seconds(value: Any) -> Any:
    if not isinstance(value, str | bool):
        return value
    match = _DURATION.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("a duration is a number with ms, s, m, h or d, such as 60s")
    return float(match[1]) * _SECONDS[match[2]]


Name = Annotated[str, AfterValidator(_name)]
TableName = Annotated[str, AfterValidator(_table)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
SlotName = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,63}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaPart(_Part):
    prefix: Annotated[str, AfterValidator(_prefix)] = ""


class StreamSettings(_Part):
    """The settings of one polled stream. `freshness`: the greatest allowed age of the stream's data in a golden record,
    in seconds, from which the poll interval follows. `enumerate_every`: the time between two enumerations, in seconds,
    None for what the connector says."""

    freshness: Seconds = 60.0
    enumerate_every: Seconds | None = None


class PollSource(_Part):
    poll: Annotated[str, AfterValidator(_class)]
    settings: Annotated[dict[str, Any], AfterValidator(_readable)] = Field(default_factory=dict)
    streams: dict[Name, StreamSettings] = Field(min_length=1)


class CdcSource(_Part):
    """A database that is followed. `debezium`: settings of Debezium's PostgreSQL connector, None for the form of events
    that Sluice writes by itself. `debezium_exact`: events also repeat the known errors of Debezium."""

    cdc: Literal["postgres"]
    dsn: SerializeAsAny[Secret]
    tables: list[TableName] = Field(min_length=1)
    heartbeat: Seconds = 10.0
    slot: SlotName | None = None
    failover: bool = True
    publication: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    debezium: DebeziumSettings | None = None
    debezium_exact: bool = False

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, written: Any, info: ValidationInfo) -> Any:
        return completed_source(written, (info.context or {}).get("root", Path()))

    @model_validator(mode="after")
    def _exact_events_are_debeziums(self) -> CdcSource:
        if self.debezium_exact and self.debezium is None:
            raise ValueError("debezium_exact: it changes events of Debezium's form. Next: add debezium: {}")
        return self

    @property
    def creates_publication(self) -> bool:
        """Whether Sluice creates the publication and adds tables to it: no publication is named, or Debezium's
        `publication.autocreate.mode` says so."""
        if self.publication is None:
            return True
        return self.debezium is not None and self.debezium.text("publication.autocreate.mode") != "disabled"


class DebeziumSource(_Part):
    """A database whose tables a real Debezium connector writes to the raw topics, with `topic.prefix=raw.<source>`.
    ingress-cdc does not follow it."""

    cdc: Literal["debezium"]
    tables: list[TableName] = Field(min_length=1)


class PostgresSink(_Part):
    postgres: Secret
    schema_: Annotated[Name, AfterValidator(_own_schema)] = Field(default="golden", alias="schema")


class SourceStream(NamedTuple):
    """A stream of a source. If the source is followed by CDC, `stream` is a table, written `schema.table`."""

    source: str
    stream: str
    kind: Literal["poll", "cdc"]


class Pipeline(_Part):
    """The content of `pipeline.yaml`. `file`: the path of the file. `root`: the path of the file's folder."""

    pipeline: Name
    partitions: int = Field(default=6, ge=1, le=1024, strict=True)
    shards: int = Field(default=4, ge=1, le=64, strict=True)
    kafka: KafkaPart = KafkaPart()
    sources: dict[Name, PollSource | CdcSource | DebeziumSource] = Field(min_length=1)
    entities: Annotated[str, AfterValidator(_module)] = "entities"
    sinks: dict[Name, PostgresSink] = Field(default_factory=dict)
    root: Path = Path()
    file: Path = Path("pipeline.yaml")

    @property
    def names(self) -> Names:
        return Names(self.kafka.prefix)

    @property
    def source_order(self) -> tuple[str, ...]:
        """The names of the sources, in the order of the pipeline file.

        If a survivorship rule ranks two claims equally, the claim of the earlier source wins.
        """
        return tuple(self.sources)

    def streams(self) -> Iterator[SourceStream]:
        """All streams of all sources, in the order of the pipeline file."""
        for name, source in self.sources.items():
            if isinstance(source, PollSource):
                yield from (SourceStream(name, stream, "poll") for stream in source.streams)
            else:
                yield from (SourceStream(name, table, "cdc") for table in source.tables)

    def sink_group(self, sink: str) -> str:
        """The consumer group of a sink: the stage's name, followed by the sink's name for every sink but the first."""
        first = next(iter(self.sinks))
        return self.names.group(SINK_POSTGRES if sink == first else f"{SINK_POSTGRES}.{sink}")

    def poll_sources(self) -> dict[str, PollSource]:
        return {n: s for n, s in self.sources.items() if isinstance(s, PollSource)}

    def debezium_sources(self) -> dict[str, DebeziumSource]:
        return {n: s for n, s in self.sources.items() if isinstance(s, DebeziumSource)}

    def cdc_sources(self) -> dict[str, CdcSource]:
        return {n: s for n, s in self.sources.items() if isinstance(s, CdcSource)}
