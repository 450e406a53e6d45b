"""The objects that all sessions of one source share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sluice.cdc.converter import RegisterSchema, no_registry
from sluice.names import Names
from sluice.telemetry.health import Health
from sluice_ingress_cdc.publisher import SlotPublisher
from sluice_ingress_cdc.settings import CdcSettings, SlotSettings

# After a table could not be read, the next attempt follows after this time: at first, and at most. The other tables are
# read and followed meanwhile.
SNAPSHOT_RETRY_AFTER_S = 30.0
SNAPSHOT_RETRY_AFTER_MAX_S = 300.0


@dataclass
class SnapshotBackoff:
    """When a pending table is tried again after it could not be read. The interval between attempts doubles, because
    other tables wait during each attempt. `retry_at`: monotonic seconds."""

    retry_at: float = 0.0
    interval_s: float = SNAPSHOT_RETRY_AFTER_S

    def tried(self, now: float) -> None:
        self.retry_at = now + self.interval_s
        self.interval_s = min(2 * self.interval_s, SNAPSHOT_RETRY_AFTER_MAX_S)

    def reset(self) -> None:
        """Allow an attempt at once."""
        self.retry_at, self.interval_s = 0.0, SNAPSHOT_RETRY_AFTER_S


@dataclass
class SessionContext:
    """The objects that all sessions of one source share.

    `report_progress`: called at each step. `streaming`: called when the stream of the slot has started.
    `snapshot_backoffs`: by table. `register`: registers Avro schemas. `slot_is_released`: whether the guard drops the
    slot, so that the stream must end.
    """

    slot: SlotSettings
    names: Names
    settings: CdcSettings
    health: Health
    publisher: SlotPublisher
    report_progress: Callable[[], None]
    streaming: Callable[[], None]
    register: RegisterSchema = no_registry
    slot_is_released: Callable[[], bool] = lambda: False
    snapshot_backoffs: dict[str, SnapshotBackoff] = field(default_factory=dict)

    @property
    def publication_where(self) -> str:
        """The subject of a fault of the publication, as texts name it."""
        return f"{self.slot.where}, publication {self.slot.publication}"
