"""The merger's process. It is level-triggered: the canonical record is always the merge of all current contributions.

On assignment, the merger reads a partition of canonical and the same partition of contributions to their ends (decision
0054: the latter only if its local state is not current). It merges again every entity that changed since the
checkpoints of its views, or all entities if rules or contract changed.
It emits a record if the content differs from the newest canonical record. So the result is the same after resets,
crashes, lost disks and changed rules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from sluice.errors import DeadRecord
from sluice.headers import CONTENT_HEADER, OVER_HEADER, REVISION_HEADER
from sluice.kafka.log import Partition
from sluice.kafka.record import Record
from sluice.kafka.topics import Pinned
from sluice.names import MERGER, Names
from sluice.provenance import Incomplete, Merged, Survivorship
from sluice.stage.batch import Batch
from sluice.stage.ledger import Outcome
from sluice.stage.partition_record import log_name, log_starts
from sluice.stage.process import Handled, Owned, Process
from sluice.stage.start import StageIdentity, restore_record
from sluice.state import StateBackend, View
from sluice.times import now_us
from sluice_merger.claims import LAYOUT, EntityClaims
from sluice_merger.inputs import EntityInput, MergerTopics
from sluice_merger.partition import MergerPartition, ReadRecord, fingerprints_of, read_record
from sluice_merger.records import CanonicalVersion, entity_id_of_contribution_key

# The exceptions that an Avro encoder raises for a value of another type, or for a value out of the range of its type.
NOT_OF_ITS_TYPE = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError)


class Merger(Process):
    """`source_order`: the sources in the order of the pipeline file."""

    def __init__(
        self,
        names: Names,
        source_order: tuple[str, ...],
        topics: MergerTopics,
        state_backend: StateBackend,
    ) -> None:
        self._stage = StageIdentity(MERGER, names.group(MERGER), names.control)
        self._source_order = source_order
        self._inputs, self._written_ids = topics.by_topic, topics.written_ids
        self._store, self._reader, self._expiry, self._watch = state_backend
        self._partitions: dict[Partition, MergerPartition] = {}
        self._rules = {topic: Survivorship(one.contract, source_order) for topic, one in topics.by_topic.items()}
        self._read: dict[Partition, dict[str, list[ReadRecord]]] = defaultdict(dict)  # of the open slice, by entity

    # ── partitions ────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, owned: Owned) -> Iterator[None]:
        topic, number = owned.at
        entity_input = self._inputs[topic]
        state = View(self._store, entity_input.state_topic, number, entity_input.state_topic_id)
        depends_on = {log_name(owned.at): Pinned(entity_input.topic_id, 1)}
        yield from restore_record(owned, state, self._reader, self._stage, depends_on)
        if owned.record.pass_end is not None:
            # The state is lost. Contributions and canonical contain everything, so all entities are merged again.
            owned.record.pass_end, owned.record.fingerprints = None, {}
        contributions = View(self._store, topic, number, entity_input.topic_id, LAYOUT)
        canonical_topic, canonical_pinned = entity_input.canonical_topic, Pinned(entity_input.canonical_topic_id, 1)
        canonical = View(self._store, canonical_topic, number, canonical_pinned.topic_id)
        partition = MergerPartition(owned, self._rules[topic], contributions, canonical)
        logs = log_starts(self._reader, [log_name((canonical_topic, number))], {canonical_topic: canonical_pinned})
        partition.fingerprints = fingerprints_of(entity_input.contract.fingerprint, self._source_order, *logs.values())
        partition.fingerprints_before = dict(owned.record.fingerprints)
        partition.everything = partition.fingerprints_before != partition.fingerprints
        yield from canonical.restore(self._reader, partition.restore_canonical)
        # If the stored claims are exactly those below the group's offset, nothing is read here: the group reads the
        # rest. Otherwise the log is read to its end: compaction may have deleted records that were merged already, and
        # a merge without them would publish older values again (decision 0054).
        is_published = next(canonical.scan(), None) is not None
        is_current = not owned.reset and not (is_published and partition.pending)
        enough = owned.next_offset if is_current else None
        yield from contributions.restore(self._reader, partition.restore_contributions, enough)
        state.advance(state.restored_to)
        self._partitions[owned.at] = partition

    def stop(self, at: Partition) -> None:
        if (partition := self._partitions.pop(at, None)) is not None:
            self._expiry.forget(partition.contributions)

    # ── records ───────────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, record: Record, batch: Batch) -> Handled:
        """Check one record. `combine` reads the claims of all entities of the slice at once, and changes them."""
        read = read_record(record)
        if read is None:
            batch.count(record.at, "unchanged")
        else:
            self._read[record.at].setdefault(read[0], []).append(read[1])
        return Handled.DONE

    def combine(self, batch: Batch) -> None:
        """Take the records of the slice, and merge each entity whose claims changed, once."""
        for at, by_entity in self._read.items():
            self._take(self._partitions[at], by_entity, batch)
        self._read.clear()

    def complete(self, batch: Batch) -> None:
        self.combine(batch)
        for partition in self._partitions.values():
            self._write_back(partition, batch)

    def _take(self, partition: MergerPartition, by_entity: dict[str, list[ReadRecord]], batch: Batch) -> None:
        """Apply the records of one partition to the claims of their entities. Merge each entity whose claims changed.

        The merge is skipped if no claim changed its fields, its effective time or its retraction: the content of a
        canonical record depends on nothing else of a claim, except the names in the contribution key. It is also
        skipped if each changed claim wins no field, before and after its change.
        """
        at = partition.owned.at
        to_merge: list[tuple[EntityClaims, list[Record]]] = []
        for claims in partition.load(sorted(by_entity)):
            accepted: list[Record] = []
            for read in by_entity[claims.entity_id]:
                outcome = partition.take(claims, read)
                if outcome is None:
                    accepted.append(read.record)
                else:
                    batch.count(at, outcome)
            if accepted and claims.unmerged:
                to_merge.append((claims, accepted))
                continue
            for _ in accepted:
                batch.count(at, "unchanged")
            claims.save()
        partition.read_versions([claims for claims, _ in to_merge if claims.version is None])
        for claims, accepted in to_merge:
            outcome = self._merge_or_park(partition, claims, accepted[-1], batch)
            batch.count(at, outcome)
            for _ in accepted[1:]:
                batch.count(at, "unchanged" if outcome == "dead" else outcome)

    def _merge_or_park(
        self, partition: MergerPartition, claims: EntityClaims, newest: Record | None, batch: Batch
    ) -> Outcome:
        """Merge an entity. `newest`: its newest record in the batch; None if the entity is merged in the background.

        If the result cannot be published, the canonical record does not change, and the newest claim is parked.
        """
        try:
            before = claims.version or CanonicalVersion(None, 0)
            version = self._merge(partition, claims, before, newest, batch)
        except DeadRecord as error:
            batch.park(newest or partition.record_of(claims.newest()), error)
            claims.mark_unmerged()
            claims.save()
            return "dead"
        claims.mark_merged(version)
        claims.save()
        return "unchanged" if version is before else "mapped"

    def _merge(
        self,
        partition: MergerPartition,
        claims: EntityClaims,
        before: CanonicalVersion,
        newest: Record | None,
        batch: Batch,
    ) -> CanonicalVersion:
        """Emit the entity's canonical record if its content differs from that of `before`. Returns its new version, or
        `before`.

        Raises DeadRecord, and emits nothing, if the record is too large or a claimed value has a wrong type.
        """
        topic, number = partition.owned.at
        entity_input = self._inputs[topic]
        result = self._rules[topic].merge(claims.contributions())
        content = None if isinstance(result, Incomplete) else result.content
        if content == before.content:
            return before
        revision = before.revision + 1
        value = self._encoded(entity_input, result, revision)
        headers = [*(newest.forwarded if newest else ()), (REVISION_HEADER, b"%d" % revision)]
        if content is not None:
            headers.append((CONTENT_HEADER, content.encode()))
        key = claims.entity_id.encode()
        batch.add_checked(entity_input.canonical_topic, key, value, headers, number)
        version = CanonicalVersion(content, revision)
        partition.canonical.put(key, version.to_bytes())
        return version

    @staticmethod
    def _encoded(entity_input: EntityInput, result: Merged | Incomplete, revision: int) -> bytes | None:
        if isinstance(result, Incomplete):
            return None
        try:
            return entity_input.encode(result.record(revision, now_us()))
        except NOT_OF_ITS_TYPE:
            # Our mapper never writes such a claim. The encoder's message is not shown: it could quote the value.
            raise DeadRecord("bad-value", "a claimed value is not of its field's type") from None

    @staticmethod
    def _write_back(partition: MergerPartition, batch: Batch) -> None:
        """Called by `complete`: write a stored claim again if an older claim of its key follows it in the log.

        Compaction keeps the last record of a key, which must be the highest claim.
        """
        for key, entity_id in partition.write_back.items():
            (claims,) = partition.load([entity_id])
            stored = claims.get(key)
            if stored is not None:
                topic, number = partition.owned.at
                batch.add_checked(topic, key, stored.to_json(), (), number)

    # ── background work ───────────────────────────────────────────────────────────────────────────────────────

    def busy(self, at: Partition) -> bool:
        partition = self._partitions.get(at)
        return partition is not None and not partition.drained

    def work(self, batch: Batch) -> None:
        """Merge again the entities that changed while this process did not own them. Drop old retractions."""
        if self._watch is not None:
            self._watch.check(self._written_ids)
        for partition in self._partitions.values():
            if partition.drained and not batch.full:
                self._drop_retractions(partition, batch)
            while not partition.drained and not partition.draining and not batch.full:
                due = partition.due()
                entities = partition.load(due)
                partition.read_versions(entities)
                for claims in entities:
                    self._merge_or_park(partition, claims, None, batch)
                    # The view keeps the row until the commit, even if the merge publishes nothing.
                    batch.bytes += claims.saved_bytes
                if entities:
                    batch.write_record_of(partition.owned.at)  # a batch without any effect is not committed
                if not due and not partition.pending:
                    partition.draining = True
                    partition.owned.record.fingerprints = partition.fingerprints
                    batch.write_record_of(partition.owned.at)

    def _drop_retractions(self, partition: MergerPartition, batch: Batch) -> None:
        """Write null over retractions that are so old that no older claim of their key can arrive any more."""
        topic, number = partition.owned.at
        for message in self._expiry.old_records(partition.contributions):
            key, offset = message.key() or b"", message.offset()
            entity_id = entity_id_of_contribution_key(key)
            if entity_id is None:
                continue
            (claims,) = partition.load([entity_id])
            stored = claims.get(key)
            if stored is not None and stored.offset == offset and stored.retracted:
                batch.add_checked(topic, key, None, [(OVER_HEADER, b"%d" % offset)], number)
                claims.drop(key)
                claims.save()

    # ── batches ───────────────────────────────────────────────────────────────────────────────────────────────

    def committed(self, batch: Batch, offsets_after: dict[Partition, int]) -> None:
        for partition in self._partitions.values():
            partition.write_back.clear()
            partition.drained, partition.draining = partition.drained or partition.draining, False
            state = partition.owned.view
            state.advance(offsets_after.get((state.topic, state.partition)))
            canonical = partition.canonical
            after = offsets_after.get((canonical.topic, canonical.partition), 0)
            canonical.restored_to = max(canonical.restored_to, after)
            if partition.drained:
                partition.contributions.advance(max(partition.contributions.restored_to, partition.owned.next_offset))
                canonical.advance(canonical.restored_to)
            else:
                partition.contributions.advance()
                canonical.advance()

    def given_up(self) -> None:
        """Undo the batch. In a partition that is not drained, all entities are merged again from the first.

        The batch lost the results of the entities that `work` merged, and these entities are not recorded.
        """
        self._read.clear()
        for partition in self._partitions.values():
            partition.contributions.rollback()
            partition.canonical.rollback()
            partition.owned.view.rollback()
            if partition.draining:
                partition.draining, partition.owned.record.fingerprints = False, partition.fingerprints_before
            if not partition.drained:
                partition.everything, partition.after, partition.after_canonical = True, b"", b""
