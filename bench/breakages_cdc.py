"""Breakages of promises of `ingress-cdc` about its stream, snapshots, positions and kills (see `bench.breakages`)."""

from __future__ import annotations

from bench.breakage import Breakage

_CDC = "services/sluice_ingress_cdc"
_ASSEMBLER = "tests/unit/cdc/test_assembler.py"
_START = "tests/unit/cdc/test_start.py"
_EVENTS = "tests/unit/cdc/test_debezium.py"
_SNAPSHOT = "tests/integration/cdc/test_cdc_snapshot_and_stream.py"
_WINDOWS = "tests/unit/cdc/test_snapshot_windows.py"
_REFUSALS = "tests/integration/cdc/test_cdc_refusals.py"

CDC_BREAKAGES = [
    Breakage(
        "the ordinal of a position counts every event of the transaction",
        f"{_CDC}/assembler.py",
        "        if kind in _ROW_OR_TRUNCATE or (kind == _MESSAGE and payload[1] & _TRANSACTIONAL):\n",
        "        if kind in _ROW_OR_TRUNCATE:\n",
        f"{_ASSEMBLER}::test_the_ordinal_counts_rows_of_tables_that_are_not_followed_and_transactional_messages",
    ),
    Breakage(
        "a keepalive within a transaction moves no mark",
        f"{_CDC}/assembler.py",
        "        if self._open is None:\n            self._reached(wal_end)\n",
        "        self._reached(wal_end)\n",
        f"{_ASSEMBLER}::test_a_keepalive_within_a_transaction_moves_nothing",
    ),
    Breakage(
        "nothing is confirmed within a transaction that was published in part",
        f"{_CDC}/assembler.py",
        "        return self._between.lsn if self._between.ordinal == 0 else 0\n",
        "        return self._between.lsn\n",
        f"{_ASSEMBLER}::test_within_a_transaction_that_was_published_in_part_nothing_may_be_confirmed_before_its_end",
    ),
    Breakage(
        "a transaction that was published in part continues after its last published event",
        f"{_CDC}/assembler.py",
        "            self.published_to = mark.ordinal if begin.final_lsn == mark.lsn else sys.maxsize\n",
        "            self.published_to = 0 if begin.final_lsn == mark.lsn else sys.maxsize\n",
        f"{_ASSEMBLER}::test_every_event_is_published_exactly_once_whenever_it_crashes",
    ),
    Breakage(
        "a transaction below the watermark is not published again",
        f"{_CDC}/assembler.py",
        "        if begin.final_lsn <= mark.lsn:\n",
        "        if begin.final_lsn == mark.lsn:\n",
        f"{_ASSEMBLER}::test_every_event_is_published_exactly_once_whenever_it_crashes",
    ),
    Breakage(
        "a source that was set back is refused",
        "libs/sluice/cdc/followed_source.py",
        "    if state.wal_end < watermark.lsn:\n",
        "    if False:\n",
        f"{_START}::test_it_refuses_to_lose_changes_and_names_the_repair",
    ),
    Breakage(
        "raw records without a watermark are refused",
        f"{_CDC}/start.py",
        "    if source.raw_is_empty or requested_epoch:\n",
        "    if True:\n",
        f"{_START}::test_a_missing_watermark_with_raw_records_is_refused",
    ),
    Breakage(
        "an epoch whose slot was not created is started again",
        f"{_CDC}/start.py",
        "    if not stored.lsn:\n",
        "    if False:\n",
        f"{_START}::test_an_epoch_whose_slot_was_not_created_starts_again",
    ),
    Breakage(
        "a delete is followed by a tombstone",
        "libs/sluice/cdc/debezium.py",
        "        return [ChangeEvent(key, None, headers)] if self.form.tombstones else []\n",
        "        return []\n",
        f"{_EVENTS}::test_a_delete_is_followed_by_its_tombstone",
    ),
    Breakage(
        "an unchanged column is never published as null",
        "libs/sluice/cdc/row_writer.py",
        "            return column.null if value is None else column.unavailable\n",
        "            return column.null\n",
        f"{_EVENTS}::test_an_unchanged_column_is_named_unavailable_and_never_null",
    ),
    Breakage(
        "a change without its key is never published",
        "libs/sluice/cdc/row_writer.py",
        "            if not isinstance(row[i], bytes):\n",
        "            if False:\n",
        f"{_EVENTS}::test_a_change_without_its_key_is_never_published",
    ),
    Breakage(
        "a changed key with an unchanged column reads the row again",
        "libs/sluice/cdc/debezium.py",
        "        wanted = left_out if moved else [i for i in left_out if i in self._reread_at]\n",
        "        wanted = [i for i in left_out if i in self._reread_at]\n",
        f"{_EVENTS}::test_a_key_change_with_an_unchanged_column_reads_the_row_again_by_its_new_key",
    ),
    Breakage(
        "records and the watermark that covers them are one transaction",
        f"{_CDC}/publisher.py",
        "            self.producer.publish(records, {watermark_key(self._source): watermark.to_json(), **changes})\n",
        "            self.producer.publish(records, {})\n"
        "            self.producer.publish([], {watermark_key(self._source): watermark.to_json(), **changes})\n",
        f"{_SNAPSHOT}::test_what_was_published_and_not_confirmed_is_not_published_again",
    ),
    Breakage(
        "an earlier process that follows a source is fenced",
        f"{_CDC}/publisher.py",
        "        self.producer.fence()\n",
        "",
        "tests/integration/cdc/test_cdc_one_reader.py"
        "::test_a_suspended_process_publishes_nothing_twice_when_it_resumes",
    ),
    Breakage(
        "a batch of ingress-cdc is bounded in bytes",
        f"{_CDC}/stream.py",
        "        return self._assembler.bytes < (",
        "        return 0 < (",
        "tests/integration/cdc/test_cdc_endurance.py::test_a_transaction_larger_than_memory_may_grow_is_published_once",
    ),
    Breakage(
        "the slot of an idle source of ingress-cdc moves on",
        f"{_CDC}/stream.py",
        "        self._confirmable_lsn = batch.complete_lsn\n",
        "",
        "tests/integration/cdc/test_cdc_endurance.py::test_an_idle_database_next_to_a_busy_one_does_not_retain_the_log",
    ),
    Breakage(
        "a snapshot retracts the rows that the table no longer has",
        f"{_CDC}/table_readings.py",
        "        markers = sweep_markers(target.topic, name, since, target.partitions)\n",
        "        markers: list[RawRecord] = []\n",
        f"{_SNAPSHOT}::test_the_snapshot_ends_with_a_sweep_marker_in_every_partition_that_is_not_a_tombstone",
    ),
    Breakage(
        "a row that is read is left out if the stream has a newer state",
        f"{_CDC}/windows.py",
        "            if not snapshot.sees(xid):\n",
        "            if False:\n",
        f"{_WINDOWS}::test_the_same_is_true_in_long_random_runs",
    ),
    Breakage(
        "a reading after a kill continues with the next chunk",
        f"{_CDC}/table_readings.py",
        "        self._request = ReadRequest(self._requests, name, self._tables[name].reading)\n",
        "        self._request = ReadRequest(self._requests, name, None)\n",
        f"{_SNAPSHOT}::test_a_table_whose_snapshot_was_interrupted_is_read_on_from_the_last_durable_chunk",
    ),
]
