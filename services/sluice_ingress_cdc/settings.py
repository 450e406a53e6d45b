"""Settings of ingress-cdc: `SLUICE_*`."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from sluice.cdc.debezium_form import event_form
from sluice.cdc.event_form import DEFAULT_FORM, EventForm
from sluice.cdc.followed_source import FollowedSource
from sluice.cdc.other_topics import OtherTopics, other_topics
from sluice.cdc.slots import publication_of, slot_of
from sluice.debezium_settings import DebeziumSettings
from sluice.pipeline import Pipeline
from sluice.pipeline.model import CdcSource
from sluice.settings.stage import StageSettings
from sluice_ingress_cdc.slot_progress import WalLimitAction


class CdcSettings(StageSettings):
    """The settings of ingress-cdc, in addition to those of every stage."""

    linger_s: float = Field(
        default=0.01, ge=0, description="How long ingress-cdc collects changes of a source for one Kafka transaction."
    )
    feedback_interval_s: float = Field(
        default=1.0,
        gt=0,
        description="How often ingress-cdc confirms to the source the LSN up to which the source may discard its log.",
    )
    watermark_interval_s: float = Field(
        default=5.0, gt=0, description="How often a source's watermark is stored while no change is published."
    )
    watch_interval_s: float = Field(
        default=5.0,
        gt=0,
        description="How often the catalogs of a source database are checked for changed definitions of its tables.",
    )
    recheck_interval_s: float = Field(
        default=5.0, gt=0, description="How long ingress-cdc waits before it connects again to a source that refused."
    )
    wal_warn_bytes: int = Field(
        default=10 * 1024**3,
        ge=0,
        description="A fault is active while a source keeps more WAL than this for its slot. 0 means no limit.",
    )
    wal_limit_bytes: int = Field(
        default=0,
        ge=0,
        description="If a source keeps more WAL than this for its slot, SLUICE_WAL_LIMIT_ACTION decides. 0 means no "
        "limit.",
    )
    wal_limit_action: WalLimitAction = Field(
        default="go_on",
        description="What happens above SLUICE_WAL_LIMIT_BYTES: `go_on` with a fault, or `release`: drop the slot, so "
        "that the disk of the source does not fill up. The tables must then be read again.",
    )
    stuck_after_s: float = Field(
        default=300.0,
        gt=0,
        description="A fault is active if nothing of a source was confirmed for this time while its WAL grew.",
    )
    record_bytes_max: int = Field(
        default=8 * 1024 * 1024 - 4_096, gt=0, description="The size of the largest record that a raw topic accepts."
    )


@dataclass(frozen=True, slots=True)
class SlotSettings(FollowedSource):
    """A followed source and how it is followed. `publication_is_ours`: Sluice creates and changes the publication.
    `heartbeat_s`: seconds between two heartbeats. `form`: the form of the events. `debezium`: Debezium's settings, None
    if the pipeline file has none. `failover`: standbys keep a copy of the slot. `other`: the topics that
    are not of a table. `skipped`: operations that are not published."""

    publication_is_ours: bool
    tables: tuple[str, ...]
    heartbeat_s: float
    failover: bool = True
    form: EventForm = DEFAULT_FORM
    debezium: DebeziumSettings | None = None
    other: OtherTopics = OtherTopics()  # noqa: RUF009 - it is frozen
    skipped: frozenset[bytes] = frozenset()

    @property
    def snapshot_mode(self) -> str:
        """Debezium's `snapshot.mode`; `never` is the older name of `no_data`."""
        mode = self.debezium.text("snapshot.mode") if self.debezium is not None else None
        return "no_data" if mode == "never" else mode or "initial"


def slots_of(pipeline: Pipeline) -> list[SlotSettings]:
    """The slot settings of every followed source of `pipeline`."""
    return [
        SlotSettings(
            source=name,
            dsn=source.dsn,
            slot=slot_of(pipeline, name),
            publication=publication_of(pipeline, name),
            publication_is_ours=source.creates_publication,
            tables=tuple(source.tables),
            heartbeat_s=source.heartbeat,
            failover=_failover(source),
            form=event_form(source),
            debezium=source.debezium,
            other=other_topics(pipeline.names, name, source.debezium),
            skipped=_skipped(source.debezium),
        )
        for name, source in pipeline.cdc_sources().items()
    ]


def _failover(source: CdcSource) -> bool:
    """Whether standbys keep a copy of the slot: Debezium's setting if it is given."""
    if source.debezium is not None and source.debezium.is_given("slot.failover"):
        return source.debezium.flag("slot.failover")
    return source.failover


def _skipped(settings: DebeziumSettings | None) -> frozenset[bytes]:
    """The operations that are not published. Debezium skips TRUNCATE by default; Sluice does so only if the setting
    says it, because the rows would stay."""
    if settings is None or not settings.is_given("skipped.operations"):
        return frozenset()
    return frozenset(op.encode() for op in settings.names("skipped.operations") if op != "none")
