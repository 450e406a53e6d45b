"""The poller as its own process, killed at random moments while the source changes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import yaml

from sluice.position import Position
from support.pace import within
from support.polling import Polled, Things, as_published, headers_of
from support.scripted_source import scripted_source
from support.waiting import eventually

TESTS = Path(__file__).resolve().parents[2]
MAIN = "from sluice_ingress_poller.main import main; raise SystemExit(main())"
KILLS = 3


@contextmanager
def process(polled: Polled, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `main` in a process as an operator does: settings are in the environment, the pipeline is in a folder."""
    sources = folder / "sources" / "shop"
    sources.mkdir(parents=True, exist_ok=True)
    declared = polled.pipeline.model_dump(mode="json", exclude={"root", "file"}, exclude_none=True)
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(declared))
    (sources / "connector.py").write_text("from support.polling import ThingConnector as Shop\n__all__ = ['Shop']\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(TESTS),
        "SLUICE_PIPELINE": str(folder / "pipeline.yaml"),
        "SLUICE_STATE_DIR": str(folder / "state"),
        "SLUICE_KAFKA__BOOTSTRAP_SERVERS": polled.kafka.bootstrap_servers,
    }
    with (folder / "log").open("ab") as log:
        running = subprocess.Popen([sys.executable, "-c", MAIN], env=environment, stderr=log)
    try:
        yield running
    finally:
        if running.poll() is None:
            running.kill()
        running.wait(within(30))


@contextmanager
def edits(things: Things, random: Random) -> Iterator[None]:
    stop = threading.Event()

    def edit() -> None:
        while not stop.wait(0.01):
            things.put(random.randrange(80))

    thread = threading.Thread(target=edit)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_killed_at_any_moment_it_loses_nothing_and_publishes_nothing_twice(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")  # noqa: T201 - to run it again
    random, things = Random(seed), Things(60)
    with scripted_source(things) as source:
        polled = Polled(kafka, topic_prefix, source.url)
        with edits(things, Random(seed + 1)):
            for _ in range(KILLS):
                before = len(polled.raw())
                with process(polled, tmp_path) as poller:
                    eventually(lambda before=before: len(polled.raw()) > before)  # type: ignore[misc]
                    time.sleep(random.random())  # the random moment that this test is about
                    os.kill(poller.pid, signal.SIGKILL)
        with process(polled, tmp_path) as poller:
            eventually(lambda: polled.newest() == as_published(things))
            poller.terminate()
            assert poller.wait(within(30)) == 0
        raw = polled.raw()
        polled.close()
    versions: dict[bytes | None, int] = {}
    positions = [Position.parse(headers_of(m)["sluice-position"]) for m in raw]
    assert len(set(positions)) == len(positions)
    for message in raw:
        version = json.loads(message.value() or b"")["v"]
        assert version > versions.get(message.key(), 0), "published twice, or an older state after a newer one"
        versions[message.key()] = version


def test_a_wrong_setting_is_named_before_anything_runs(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    polled = Polled(kafka, topic_prefix, "ftp://hunter2@nowhere")
    polled.close()
    with process(polled, tmp_path) as poller:
        assert poller.wait(within(30)) != 0
    log = (tmp_path / "log").read_text()
    assert "sources.shop.settings.base_url" in log
    assert "hunter2" not in log
