"""Settings of ingress-poller: those of every stage, and its own with the prefix `SLUICE_POLLER__`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from sluice.names import MAPPER
from sluice.settings.stage import StageSettings


class PollingSettings(BaseModel):
    """The settings that only ingress-poller has.

    An enumeration may lack as many known keys as the greater of `shrink_keys_min` and `shrink_fraction_max` allows. If
    it lacks more, or lists nothing, it publishes no deletes until an operator runs `sluice deletes accept`. With few
    known keys, `shrink_keys_min` allows a quarter of them, but at least one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pages_max: int = Field(
        default=4,
        ge=1,
        description="The most pages in memory at once, over all streams. Times the connector's body limit, this is the "
        "most memory for pages.",
    )
    page_attempts_max: int = Field(
        default=8, ge=1, description="A listing starts again after this many requests for one page without success."
    )
    shrink_keys_min: int = Field(
        default=10,
        ge=0,
        description="This many known keys may be missing from a listing, but no more than a quarter of the known keys, "
        "and always one. If more are missing, their deletes wait for `sluice deletes accept`. "
        "SLUICE_POLLER__SHRINK_FRACTION_MAX may allow more.",
    )
    shrink_fraction_max: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="This fraction of the known keys may be missing from a listing, if it is more keys than "
        "SLUICE_POLLER__SHRINK_KEYS_MIN allows.",
    )
    downstream_groups: list[str] = Field(
        default=[MAPPER],
        description="The consumer groups whose lag slows polling down, as a JSON list of names without the pipeline's "
        "prefix.",
    )
    lag_records_throttle: int = Field(
        default=50_000, ge=1, description="Polling is slowed down if the downstream groups lag by this many records."
    )
    lag_records_pause: int = Field(
        default=200_000, ge=1, description="Polling pauses if the downstream groups lag by this many records."
    )
    lag_interval_s: float = Field(default=5.0, gt=0, description="How often the lag of downstream groups is measured.")
    stop_deadline_s: float = Field(
        default=20.0, gt=0, description="How long a process that stops waits for pages that are being published."
    )


class PollerSettings(StageSettings):
    poller: PollingSettings = PollingSettings()
