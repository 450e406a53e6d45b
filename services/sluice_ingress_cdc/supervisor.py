"""Runs one follower per source, each on a thread, until a signal or a bug; reports the progress of the process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from sluice.names import INGRESS_CDC
from sluice.stage.signals import Stop
from sluice.telemetry.health import STALLED_AFTER_S, Health
from sluice_ingress_cdc.follower import Follower

log = structlog.get_logger()


def supervise(followers: Sequence[Follower], health: Health, stop: Stop) -> int:
    """Run all followers. Returns 0 after a signal. A bug in one follower stops the other followers and is raised, which
    ends the process."""
    health.started()
    log.info("started", stage=INGRESS_CDC, sources=len(followers))
    with ThreadPoolExecutor(max(len(followers), 1), thread_name_prefix="follow") as threads:
        running = [threads.submit(follower.run, stop) for follower in followers]
        try:
            while not stop.wait(0.5) and not any(future.done() for future in running):
                # If one follower hangs, the process reports no progress.
                if not [follower for follower in followers if _hangs(follower, health)]:
                    health.progress()
        finally:
            stop.request()
    for future in running:
        future.result()
    log.info("stopped", stage=INGRESS_CDC)
    return 0


def _hangs(follower: Follower, health: Health) -> bool:
    """Whether the follower has made no progress for `STALLED_AFTER_S`; sets or resolves the fault of its loop."""
    about = f"loop of {follower.where}"
    if time.monotonic() - follower.progress_at < STALLED_AFTER_S:
        health.resolve(about)
        return False
    health.fault(about, f"no progress for {STALLED_AFTER_S:.0f} s: its thread hangs. Next: start the stage again")
    return True
