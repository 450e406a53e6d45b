"""What all sessions of a source share, from one start to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sluice.names import Names
from sluice.telemetry.health import Health
from sluice_ingress_cdc.publisher import SlotPublisher
from sluice_ingress_cdc.settings import CdcSettings, SlotSettings

# How long the other tables are followed before the snapshot of tables that failed is tried again: at first, and at
# most.
SNAPSHOT_RETRY_AFTER_S = 30.0
SNAPSHOT_RETRY_AFTER_MAX_S = 300.0


class FollowerStopped(Exception):
    """The stage is to stop during a snapshot; tables that are not read stay pending."""


@dataclass
class SnapshotBackoff:
    """When tables that could not be read are tried again. The interval doubles: the source's stream waits during each
    attempt. `retry_at`: monotonic seconds."""

    retry_at: float = 0.0
    interval_s: float = SNAPSHOT_RETRY_AFTER_S

    def tried(self, now: float) -> None:
        self.retry_at = now + self.interval_s
        self.interval_s = min(2 * self.interval_s, SNAPSHOT_RETRY_AFTER_MAX_S)

    def reset(self) -> None:
        """An operator requested it, or no table is left to read."""
        self.retry_at, self.interval_s = 0.0, SNAPSHOT_RETRY_AFTER_S


@dataclass
class SessionContext:
    """`report_progress`: called at each step. `continue_or_stop`: the same before each wait, with its longest time in
    seconds; raises FollowerStopped. `streaming`: called once the slot is read."""

    slot: SlotSettings
    names: Names
    settings: CdcSettings
    health: Health
    publisher: SlotPublisher
    report_progress: Callable[[], None]
    continue_or_stop: Callable[[float], None]
    streaming: Callable[[], None]
    snapshot_backoff: SnapshotBackoff = field(default_factory=SnapshotBackoff)

    @property
    def publication_where(self) -> str:
        """What a fault of the publication is about."""
        return f"{self.slot.where}, publication {self.slot.publication}"
