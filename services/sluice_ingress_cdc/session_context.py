"""The objects that all sessions of one source share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sluice.names import Names
from sluice.telemetry.health import Health
from sluice_ingress_cdc.publisher import SlotPublisher
from sluice_ingress_cdc.settings import CdcSettings, SlotSettings

# After a failed snapshot of pending tables, the next attempt follows after this time: at first, and at most. The other
# tables are followed meanwhile.
SNAPSHOT_RETRY_AFTER_S = 30.0
SNAPSHOT_RETRY_AFTER_MAX_S = 300.0


class FollowerStopped(Exception):
    """The stage was requested to stop during a snapshot. Tables that are not read completely stay pending."""


@dataclass
class SnapshotBackoff:
    """When the next snapshot of pending tables is tried, after one failed. The interval between attempts doubles,
    because the stream of the source waits during each attempt. `retry_at`: monotonic seconds."""

    retry_at: float = 0.0
    interval_s: float = SNAPSHOT_RETRY_AFTER_S

    def tried(self, now: float) -> None:
        self.retry_at = now + self.interval_s
        self.interval_s = min(2 * self.interval_s, SNAPSHOT_RETRY_AFTER_MAX_S)

    def reset(self) -> None:
        """Allow an attempt at once: an operator requested one, or no table is pending."""
        self.retry_at, self.interval_s = 0.0, SNAPSHOT_RETRY_AFTER_S


@dataclass
class SessionContext:
    """The objects that all sessions of one source share.

    `report_progress`: called at each step. `continue_or_stop`: called before each wait with the longest time that the
    wait may take, in seconds; it raises FollowerStopped if the stage is to stop. `streaming`: called when the stream of
    the slot has started.
    """

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
        """The subject of a fault of the publication, as texts name it."""
        return f"{self.slot.where}, publication {self.slot.publication}"
