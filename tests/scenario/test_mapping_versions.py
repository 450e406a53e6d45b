"""A mapping is changed, and all records are replayed through it; then it is changed back under a new version."""

from __future__ import annotations

import pytest

from support.golden_tables import Golden, golden_tables
from support.replay import Replay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WORKFORCE = {"workers": 200, "ledger_entries": 200}
ORIGINAL = "full_name=known(full_name(raw)),"
SHOUTED = 'full_name=known((full_name(raw) or "").upper() or None),'


class Author:
    """Edits the HR mapping of a running pipeline, and restarts the mapper with it."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self._file = replay.run.pipeline.root / "sources" / "hr" / "mapping.py"
        self._original = self._file.read_text()

    def write(self, version: int, *, shouted: bool) -> None:
        text = self._original.replace('source="hr.workers", version=4', f'source="hr.workers", version={version}')
        text = text.replace(ORIGINAL, SHOUTED) if shouted else text
        assert text != self._original or (version == 4 and not shouted)
        self._file.write_text(text)

    def deploy(self, version: int, *, shouted: bool) -> None:
        """Stop the mapper, change the code, rewind the group on HR's topic with Kafka's own tool, start."""
        self.replay.run.stop("mapper")
        self.write(version, shouted=shouted)
        self.replay.move("mapper", "--to-earliest", topic=self.replay.names.raw("hr", "workers"))
        self.replay.run.start("mapper")
        self.replay.settle()

    def rows(self) -> Golden:
        return golden_tables(self.replay.run.sink_dsn, self.replay.entities)


@pytest.fixture(scope="module")
def author(replay: Replay) -> Author:
    return Author(replay)


def shouting(rows: Golden) -> Golden:
    """The rows as they must be when names are upper case; nothing else differs."""
    names = {key: row["full_name"] for key, row in rows["worker"].items()}
    workers = {
        key: {**row, "full_name": name.upper() if isinstance(name := names[key], str) else name}
        for key, row in rows["worker"].items()
    }
    return {**rows, "worker": workers}


def test_changed_code_under_an_unchanged_version_is_refused(author: Author) -> None:
    replay, before = author.replay, author.rows()
    replay.run.stop("mapper")
    author.write(4, shouted=True)
    try:
        replay.run.start("mapper")
        fault = replay.scenario.await_fault("mapper", "mapping worker", "its version is still 4")
    finally:
        replay.run.stop("mapper")
        author.write(4, shouted=False)
        replay.run.start("mapper")
    assert "raise the mapping's version" in fault
    replay.scenario.await_ready("mapper")
    assert author.rows() == before


def test_a_new_version_shows_everywhere_and_going_back_to_old_code_is_a_version_of_its_own(author: Author) -> None:
    replay, before, written = author.replay, author.rows(), author.replay.versions_of()
    wanted = shouting(before)
    changed = {("worker", key) for key, row in wanted["worker"].items() if row != before["worker"][key]}
    assert 0 < len(changed) < len(before["worker"]), "some workers must not change, or their silence proves nothing"

    author.deploy(5, shouted=True)
    assert author.rows() == wanted
    assert replay.versions_of() - written == dict.fromkeys(changed, 1), "only what changed is written, once"

    written = replay.versions_of()
    author.deploy(6, shouted=False)
    assert author.rows() == before
    assert replay.versions_of() - written == dict.fromkeys(changed, 1)


def test_a_process_with_a_lower_version_than_the_one_in_force_leaves(author: Author) -> None:
    replay, before = author.replay, author.rows()
    author.deploy(7, shouted=False)
    replay.run.stop("mapper")
    author.write(6, shouted=False)
    done = replay.scenario.command("run", "mapper")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "version 7 is in force, this process has 6" in done.stderr
    author.write(7, shouted=False)
    replay.run.start("mapper")
    replay.scenario.await_ready("mapper")
    assert author.rows() == before


def test_after_all_versions_verify_finds_nothing(author: Author) -> None:
    author.replay.settle()
    done = author.replay.scenario.command("verify", "--wait", "30")
    assert done.returncode == 0, done.stdout + done.stderr
