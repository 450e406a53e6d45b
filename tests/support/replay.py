"""A pipeline whose groups are moved with Kafka's own tool. After a move a test waits until every group is at its end,
and compares.

`Picture` is what must be the same before and after: every column of every golden row, and how many canonical records a
reader reads.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import orjson
import psycopg
from confluent_kafka import Message
from psycopg import sql

from sluice.embedded.tools import CONSUMER_GROUPS, kafka_tool
from sluice.kafka import LogReader, clients
from sluice.kafka.log import Partition, read_to_end
from sluice.lag import StageInputs, committed_offsets, stage_inputs
from sluice.pipeline.authored import load_entities, load_mappings
from sluice.verify.group_progress import wait_for_group
from support.pace import within
from support.scenario import Scenario
from support.waiting import eventually

SETTLE_DEADLINE_S = 90.0
_CHECKSUM = """
SELECT count(*), md5(string_agg(md5(golden::text), '' ORDER BY entity_id COLLATE "C")) FROM {table} AS golden
"""


def key_of(message: Message) -> str:
    return (message.key() or b"").decode()


@dataclass(frozen=True)
class Picture:
    """`rows`: by entity, how many and the checksum over all columns, those of Sluice's own (`_revision`, `_updated_at`,
    `_topic_epoch`, `_partition`, `_offset`, `_provenance`) with the fields; `visible`: canonical records that a
    read_committed consumer sees, by topic and partition."""

    rows: Mapping[str, tuple[int, str]]
    visible: Mapping[Partition, int]


class Replay:
    """Moves the groups of a running pipeline (`scenario`)."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.run = scenario.run
        self.names = self.run.pipeline.names
        self.kafka = self.run.settings.kafka
        self.entities = list(load_entities(self.run.pipeline))
        self.inputs: list[StageInputs] = stage_inputs(
            self.run.pipeline, load_mappings(self.run.pipeline), load_entities(self.run.pipeline)
        )

    # ── moving ────────────────────────────────────────────────────────────────────────────────────────────────

    def group_of(self, stage: str) -> str:
        return next((one.group for one in self.inputs if one.stage == stage), self.names.group(stage))

    def move(self, stage: str, *to: str, topic: str | None = None) -> None:
        """Kafka's own `--reset-offsets --execute` on the stage's stopped group: all its topics, or `topic`."""
        which = ["--topic", topic] if topic else ["--all-topics"]
        servers = ["--bootstrap-server", self.kafka.bootstrap_servers]
        group = ["--group", self.group_of(stage)]
        done = kafka_tool(CONSUMER_GROUPS, *servers, *group, "--reset-offsets", *which, *to, "--execute")
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        # It ends with 0 as well where it moves nothing, because the stage was killed and is a member still.
        assert "Error" not in said, f"nothing was moved: {said}\n{self.scenario.states()}"
        assert (topic or self.names.prefix) in done.stdout, f"nothing was moved: {said}"

    def lose_state(self, stage: str) -> None:
        """Delete what the stopped stage kept on disk; the sink keeps schemas only."""
        folder = self.run.state_dir / "stages" / ("schemas" if stage == "sink-postgres" else f"{stage}-0")
        assert any(folder.iterdir()), f"{folder} has nothing to lose"
        shutil.rmtree(folder)

    def committed(self, stage: str) -> dict[Partition, int]:
        topics = next(one.topics for one in self.inputs if one.stage == stage)
        partitions = [(topic, p) for topic in topics for p in range(self.run.pipeline.partitions)]
        return committed_offsets(self.kafka, self.group_of(stage), partitions)

    # ── waiting and looking ───────────────────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """Wait until every group has done all that is visible to it now: the mapper's first, the sink's last."""
        self.run.watch()
        with LogReader(self.kafka) as reader:
            for one in self.inputs:
                partitions = [(topic, p) for topic in one.topics for p in range(self.run.pipeline.partitions)]
                ends, give_up_at = reader.ends(partitions), time.monotonic() + within(SETTLE_DEADLINE_S)
                _, left = wait_for_group(self.kafka, reader, one.group, ends, give_up_at)
                assert not left, f"{left}\n{self.scenario.states()}"

    def await_enumeration(self) -> None:
        """Wait until the poller has stored a whole look at HR that began after this call."""
        topic = self.names.responses("hr")
        with LogReader(self.kafka) as reader:
            ends = reader.ends([(topic, p) for p in range(len(self._partitions(topic)))])
            starts = {p: end for (_, p), end in ends.items()}
        eventually(lambda: self._full_looks(topic, starts) >= 2, "HR to be listed", 60.0, self.scenario.states)

    def _full_looks(self, topic: str, starts: Mapping[int, int]) -> int:
        """First pages of enumerations: asked for without a watermark or a cursor. The one before the last is
        whole."""
        messages = read_to_end(self.kafka, topic, starts)
        urls = [str(dict(m.headers() or ()).get("http.url", b"")) for m in messages]
        return sum("/workers" in url and "updated_from" not in url and "cursor=" not in url for url in urls)

    def _partitions(self, topic: str) -> dict[int, Any]:
        found: dict[int, Any] = (
            clients.admin(self.kafka).list_topics(topic, timeout=within(30)).topics[topic].partitions
        )
        return found

    def picture(self) -> Picture:
        return Picture(self._rows(), self.visible_records())

    def _rows(self) -> dict[str, tuple[int, str]]:
        with psycopg.connect(self.run.sink_dsn) as connection:
            tables = {entity: sql.Identifier("golden", entity) for entity in self.entities}
            query = sql.SQL(_CHECKSUM)
            found = {e: connection.execute(query.format(table=t)).fetchone() for e, t in tables.items()}
        return {entity: (row[0], row[1]) for entity, row in found.items() if row is not None}

    def visible_records(self) -> dict[Partition, int]:
        return dict(Counter((str(m.topic()), int(m.partition() or 0)) for m in self.canonical()))

    def canonical(self) -> Iterator[Message]:
        """Every canonical record that a read_committed consumer sees, in order per partition."""
        for entity in self.entities:
            starts = dict.fromkeys(range(self.run.pipeline.partitions), 0)
            yield from read_to_end(self.kafka, self.names.canonical(entity), starts)

    def visible_beyond(self, entity: str, ends: Sequence[int]) -> int:
        """Canonical records of `entity` from these offsets on, one for each partition."""
        return sum(1 for _ in read_to_end(self.kafka, self.names.canonical(entity), dict(enumerate(ends))))

    def versions_of(self) -> Counter[tuple[str, str]]:
        """How often each entity was written: by entity name and id."""
        bare = self.names.canonical("")
        return Counter((str(m.topic()).removeprefix(bare), key_of(m)) for m in self.canonical())

    # ── the sources, and the ledger ───────────────────────────────────────────────────────────────────────────

    def finance(self, statement: LiteralString, *parameters: object) -> int:
        """Change the finance database in one transaction; how many rows that were."""
        with psycopg.connect(self.run.env["FINANCE_DSN"]) as connection:
            return connection.execute(statement, parameters).rowcount

    def resets_in_ledger(self, stage: str) -> list[dict[str, Any]]:
        """The lines by which the stage's ledger says that it began elsewhere than it ended."""
        group = self.group_of(stage)
        return [line for key, line in self._ledger() if key.startswith(f"{group}/") and line["reset"]]

    def _ledger(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for message in read_to_end(self.kafka, self.names.ledger, {0: 0}):
            yield key_of(message), orjson.loads(message.value() or b"{}")
        with psycopg.connect(self.run.sink_dsn) as connection:
            for key, line in connection.execute("SELECT key, line FROM golden._ledger ORDER BY id"):
                yield key, line if isinstance(line, dict) else orjson.loads(line)
