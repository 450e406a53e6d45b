"""The pipeline file as typed, frozen values: sources, entities, sinks. Unknown keys are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sluice.names import Names
from sluice.pipeline.secret import Secret

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("names are immutable and spelled [a-z][a-z0-9_]*")
    return text


def _table(text: str) -> str:
    schema, dot, table = text.partition(".")
    if not (dot and schema and table) or "." in table:
        raise ValueError("a table is written schema.table")
    return text


def _seconds(value: Any) -> Any:
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if not match:
            raise ValueError("a duration is a number with ms, s, m, h or d, such as 60s")
        return float(match[1]) * _SECONDS[match[2]]
    return value


Name = Annotated[str, AfterValidator(_name)]
TableName = Annotated[str, AfterValidator(_table)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaPart(_Part):
    prefix: str = ""


class StreamSettings(_Part):
    """`freshness`: how old a golden record made from this stream may be; the poll interval follows from it."""

    freshness: Seconds = 60.0
    enumerate_every: Seconds | None = None


class PollSource(_Part):
    poll: str
    settings: dict[str, Any] = Field(default_factory=dict)
    streams: dict[Name, StreamSettings]

    @model_validator(mode="after")
    def _path(self) -> PollSource:
        if self.poll.count(":") != 1:
            raise ValueError("poll names a connector as package.module:Class")
        return self


class CdcSource(_Part):
    cdc: Literal["postgres"]
    dsn: Secret
    tables: list[TableName]
    heartbeat: Seconds = 10.0
    slot: str | None = None
    publication: str | None = None


class PostgresSink(_Part):
    postgres: Secret
    schema_: Name = Field(default="golden", alias="schema")


class Stream(NamedTuple):
    """One stream of one source; `kind` is `poll` or `cdc`. A CDC stream is called `schema.table`."""

    source: str
    stream: str
    kind: Literal["poll", "cdc"]


class Pipeline(_Part):
    """A pipeline: what `pipeline.yaml` says, and `root`, the folder that it stands in."""

    pipeline: Name
    partitions: int = Field(default=6, ge=1, le=1024)
    shards: int = Field(default=4, ge=1, le=64)
    kafka: KafkaPart = KafkaPart()
    sources: dict[Name, PollSource | CdcSource]
    entities: str = "entities"
    sinks: dict[Name, PostgresSink] = Field(default_factory=dict)
    root: Path = Path()

    @property
    def names(self) -> Names:
        return Names(self.kafka.prefix)

    @property
    def source_order(self) -> tuple[str, ...]:
        """Sources as declared: the last word of survivorship where a rule leaves a tie."""
        return tuple(self.sources)

    def streams(self) -> Iterator[Stream]:
        """Every stream of every source, in declared order."""
        for name, source in self.sources.items():
            if isinstance(source, PollSource):
                yield from (Stream(name, stream, "poll") for stream in source.streams)
            else:
                yield from (Stream(name, table, "cdc") for table in source.tables)

    def poll_sources(self) -> dict[str, PollSource]:
        return {n: s for n, s in self.sources.items() if isinstance(s, PollSource)}

    def cdc_sources(self) -> dict[str, CdcSource]:
        return {n: s for n, s in self.sources.items() if isinstance(s, CdcSource)}
