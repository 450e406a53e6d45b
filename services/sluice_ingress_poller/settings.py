"""Settings of ingress-poller: the stage's own stand under `SLUICE_POLLER__*`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from sluice.names import MAPPER
from sluice.stage.settings import StageSettings


class PollerPart(BaseModel):
    """`pages_max`: pages in memory at once, over all streams: with the connector's body limit, the bound in bytes.

    `shrink_keys_min`, `shrink_fraction_max`: an enumeration in which more than the greater of both is missing
    publishes no deletes until `sluice deletes accept`; of few keys the first allows only a quarter, and always one. An
    empty enumeration is never taken at its word. `downstream_groups`: groups whose lag slows polling down, without the
    prefix.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pages_max: int = Field(default=4, ge=1)
    page_attempts_max: int = Field(default=8, ge=1)
    shrink_keys_min: int = Field(default=10, ge=0)
    shrink_fraction_max: float = Field(default=0.2, ge=0, le=1)
    downstream_groups: list[str] = [MAPPER]
    lag_records_throttle: int = Field(default=50_000, ge=1)
    lag_records_pause: int = Field(default=200_000, ge=1)
    lag_interval_s: float = Field(default=5.0, gt=0)
    stop_deadline_s: float = Field(default=20.0, gt=0)


class PollerSettings(StageSettings):
    poller: PollerPart = PollerPart()
