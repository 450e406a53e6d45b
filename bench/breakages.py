"""`make breakages`: checks that the tests notice broken code. It breaks each promise of Sluice on purpose, and the
promise's test must then fail.

Each breakage changes a few words in a copy of the code and runs one test on the copy. The promise is guarded if the
test passes on the unchanged copy and fails on the changed one. The exit code is 1 if a promise is not guarded. With
`--only cdc`, only breakages are tried whose promise, file or test contains this text.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.breakage import Breakage
from bench.breakages_cdc import CDC_BREAKAGES

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("libs", "services", "tests", "schemas", "examples", "pyproject.toml", "README.md")
TEST_TIMEOUT_S = 300

BREAKAGES = [
    *CDC_BREAKAGES,
    Breakage(
        "the LSN is confirmed only after Kafka acknowledged what it covers",
        "services/sluice_ingress_cdc/stream.py",
        "        self._under_way = (future, batch)\n",
        "        self._under_way = (future, batch)\n"
        "        self._confirmable_lsn = batch.complete_lsn\n"
        "        self._stream.confirm(self._confirmable_lsn)\n",
        "tests/integration/cdc/test_cdc_confirmation.py::test_the_lsn_confirmed_never_exceeds_the_watermark",
    ),
    Breakage(
        "a value left out is read only when its transaction is visible",
        "services/sluice_ingress_cdc/source_queries.py",
        "            raise NotVisibleYet\n",
        "            pass\n",
        "tests/integration/cdc/test_cdc_invisible_commits.py::test_a_value_left_out_is_read_only_when_its_transaction_is_visible",
    ),
    Breakage(
        "a row refuses an older canonical record",
        "libs/sluice/golden/sql/upsert.sql",
        "WHERE (t._topic_epoch, t._offset) <= (excluded._topic_epoch, excluded._offset)",
        "WHERE true",
        "tests/integration/sink/test_golden_store.py::test_the_guard_takes_the_same_or_newer_and_refuses_older",
    ),
    Breakage(
        "a deleted row stays deleted when the sink is rewound",
        "libs/sluice/golden/sql/upsert.sql",
        'AND (g.topic_epoch, g."offset") > (i._topic_epoch, i._offset)',
        "AND false",
        "tests/integration/sink/test_golden_store.py::test_a_deleted_row_stays_deleted_when_older_records_come_again",
    ),
    Breakage(
        "what a source deleted while its raw topic was lost is swept",
        "services/sluice_ingress_poller/stream_poll.py",
        "        return verdict, since if agreed else None\n",
        "        return verdict, None\n",
        "tests/unit/poll/test_poll_stream.py::test_the_sweep_is_published_once_with_the_last_page_of_the_second_listing",
    ),
    Breakage(
        "one listing alone sweeps nothing",
        "services/sluice_ingress_poller/stream_poll.py",
        "        return verdict, since if agreed else None\n",
        "        return verdict, since\n",
        "tests/unit/poll/test_poll_stream.py::test_the_sweep_is_published_once_with_the_last_page_of_the_second_listing",
    ),
    Breakage(
        "a sweep takes no key that the source lists and the topic lacks",
        "services/sluice_ingress_poller/raw_topic_reset.py",
        "    elif absent:\n",
        "    elif False:\n",
        "tests/unit/poll/test_poll_stream.py::test_a_key_that_is_withheld_is_not_swept",
    ),
    Breakage(
        "a row that is too large to be published is a fault of its table",
        "services/sluice_ingress_cdc/assembler.py",
        "            if has_dead_letter(records):\n",
        "            if False:\n",
        "tests/unit/cdc/test_assembler.py::test_a_change_larger_than_the_topic_takes_becomes_a_dead_letter_and_a_placeholder",
    ),
    Breakage(
        "an update of a large row under REPLICA IDENTITY FULL is published without the old row",
        "services/sluice_ingress_cdc/records.py",
        "    value = _without_before(change.value)\n",
        "    value = change.value\n",
        "tests/unit/cdc/test_assembler.py::test_the_old_row_is_left_out_if_both_rows_are_too_large",
    ),
    Breakage(
        "a statement of others on a golden table is noted",
        "libs/sluice/golden/sql/watch_table.sql",
        "WHEN (current_setting('sluice.writer', true) IS DISTINCT FROM 'sink' OR pg_trigger_depth() > 0)",
        "WHEN (false)",
        "tests/integration/sink/test_foreign_writes.py::"
        "test_writes_of_a_user_with_rights_on_the_table_alone_are_reported_once",
    ),
    Breakage(
        "a row that a trigger drops in silence is a fault",
        "libs/sluice/golden/writer.py",
        "            self._refuse_dropped(rows, self._connection.execute(self._dropped_rows).fetchone(), UPSERT)\n",
        "",
        "tests/integration/sink/test_foreign_code.py::"
        "test_a_row_that_a_trigger_drops_in_silence_is_a_fault_that_names_it_before_anything_is_committed",
    ),
    Breakage(
        "a table at fault blocks its own entity alone",
        "libs/sluice/stage/recovery.py",
        "                self._assignment.pause_for(error.topic, TOPIC_RETRY_S)\n",
        "                pass\n",
        "tests/integration/sink/test_foreign_code.py::"
        "test_a_table_that_cannot_be_written_stops_its_own_entity_and_the_others_go_on",
    ),
    Breakage(
        "concurrent batches are sorted and do not deadlock",
        "libs/sluice/golden/sql/upsert.sql",
        'ORDER BY i.entity_id COLLATE "C"',
        "ORDER BY i.ctid",  # the order of the batch: the test writes two batches in opposite orders
        "tests/integration/sink/test_golden_store.py::test_batches_that_write_the_same_rows_at_once_do_not_deadlock",
    ),
    Breakage(
        "local state is not ahead of the commit",
        "libs/sluice/state/view.py",
        "        self._pending[key] = value\n",
        "        self._store.write([(self._prefix + key, value)])\n",
        "tests/unit/merger/test_merger_semantics.py::test_state_is_not_ahead_of_the_commit",
    ),
    Breakage(
        "a new group starts at the first offset, not at the latest",
        "libs/sluice/stage/start.py",
        "begin, end = reader.beginnings([owned.at])[owned.at], reader.ends([owned.at])[owned.at]",
        "begin = end = reader.ends([owned.at])[owned.at]",
        "tests/integration/stage/test_loop.py"
        "::test_a_new_group_starts_at_the_first_offset_and_reads_all_existing_records",
    ),
    Breakage(
        "a dead letter and the offset behind it are one transaction",
        "libs/sluice/stage/batch.py",
        "        self.add(OutputRecord(self._dlq_topic, *letter, -1))\n",
        "",
        "tests/integration/stage/test_loop.py"
        "::test_a_dead_letter_is_durable_with_the_offset_after_it_and_the_stage_continues",
    ),
    Breakage(
        "the mapper remembers a delete of a key whose record was parked",
        "services/sluice_mapper/record_step.py",
        "state.replace(deleted=position, emitted=emitted, targets=targets)",
        "state.replace(emitted=emitted, targets=targets)",
        "tests/unit/mapper/test_mapper_semantics.py"
        "::test_a_parked_record_redriven_after_its_key_was_deleted_claims_nothing",
    ),
    Breakage(
        "reading to the end means the high watermark, not the last stable offset",
        "libs/sluice/kafka/log.py",
        "level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED",
        "level = IsolationLevel.READ_COMMITTED",
        "tests/contract/kafka/test_log_reader.py"
        "::test_an_open_transaction_of_a_dead_owner_does_not_hide_what_was_committed_behind_it",
    ),
    Breakage(
        "verify names what differs between a followed table and raw",
        "libs/sluice/verify/source_link.py",
        "elif other := sorted(table.columns.differing(unpacked(row), state.entry.codes)):",
        "elif other := []:",
        "tests/integration/verify/test_verify_sources.py::test_equal_rows_are_not_named",
    ),
    Breakage(
        "nothing is called verified that was not checked",
        "libs/sluice/verify/report.py",
        'any(one.kind == "unable" for one in self.not_checked)',
        "any(())",
        "tests/unit/verify/test_source_link.py::test_a_report_is_verified_only_if_everything_was_checked",
    ),
    Breakage(
        "a change that a source's snapshot does not show yet is no difference",
        "libs/sluice/verify/raw_states.py",
        "        return whole < self.xmax and whole not in self.in_progress",
        "        return whole >= 0",
        "tests/unit/verify/test_source_link.py::test_a_snapshot_shows_what_its_transactions_committed",
    ),
    Breakage(
        "a stage whose loop hangs says so",
        "libs/sluice/telemetry/fault_writer.py",
        "            health.watch()\n",
        "",
        "tests/integration/stage/test_loop.py::test_a_record_that_does_not_end_is_a_fault_with_its_place_until_it_ends",
    ),
    Breakage(
        "a secret is removed however a source spells it",
        "libs/sluice/connector/redact.py",
        "for one in _spellings(secret)}",
        "for one in [secret]}",
        "tests/unit/connector/test_connector_declarations.py::test_a_secret_is_removed_however_a_source_spells_it",
    ),
    Breakage(
        "tombstones of an older version are taken over",
        "libs/sluice/golden/tables.py",
        '    if "_graves" in state.tables:',
        "    if not state:",
        "tests/integration/sink/test_golden_tables.py::test_tombstones_of_an_older_version_keep_deleted_rows_deleted",
    ),
    Breakage(
        "the offsets of a batch in flight are committed after its rows",
        "libs/sluice/stage/commit.py",
        "        self._in_flight = _InFlight(batch, snapshot, partitions, written, time.monotonic())\n",
        "        self._in_flight = _InFlight(batch, snapshot, partitions, written, time.monotonic())\n"
        "        reader.commit({one.at: one.next_offset for one in snapshot})\n",
        "tests/unit/stage/test_batch_in_flight.py::test_no_offset_is_committed_before_its_batch_is_durable",
    ),
    Breakage(
        "the offsets of a partition that was revoked meanwhile are not committed",
        "libs/sluice/stage/commit.py",
        "for at, offset in offsets.items() if at not in revoked}",
        "for at, offset in offsets.items()}",
        "tests/unit/stage/test_batch_in_flight.py::test_the_offsets_of_a_revoked_partition_are_not_committed_any_more",
    ),
    Breakage(
        "a merge is skipped only if the claim says what the one before it said",
        "services/sluice_merger/claims.py",
        "            self.fields == other.fields\n            and self.effective_at == other.effective_at\n",
        "            self.fields == other.fields\n",
        "tests/unit/merger/test_skipped_merges.py"
        "::test_a_claim_that_repeats_the_one_before_it_at_a_later_effective_time_is_merged",
    ),
    Breakage(
        "a claim whose golden record could not be published is merged when it is repeated",
        "services/sluice_merger/merger.py",
        '            claims.mark_unmerged()\n            claims.save()\n            return "dead"',
        '            claims.mark_merged(before)\n            claims.save()\n            return "dead"',
        "tests/unit/merger/test_skipped_merges.py::test_a_claim_that_repeats_a_parked_one_is_merged",
    ),
    Breakage(
        "a text that Postgres can never store is a dead letter of its record alone",
        "services/sluice_sink_postgres/row_decoder.py",
        'if b"\\\\0" in texts:',
        "if False:",
        "tests/unit/sink/test_row_decoder.py::test_a_value_that_postgres_can_never_store_is_a_dead_record",
    ),
]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make breakages", description="Breaks promises and sees their tests fail.")
    parser.add_argument("--only", action="append", help="only those whose promise, file or test contains this text")
    only = parser.parse_args().only
    chosen = [one for one in BREAKAGES if only is None or any(one.mentions(word) for word in only)]
    results = []
    with tempfile.TemporaryDirectory(prefix="sluice-breakages-") as folder:
        copy = Path(folder)
        copy.chmod(0o755)
        for breakage in chosen:
            guarded, why = _try(breakage, copy)
            results.append({"promise": breakage.promise, "test": breakage.test, "guarded": guarded, "why": why})
            print(f"{'red, as it must be' if guarded else 'NOT GUARDED: ' + why:<20} {breakage.promise}", flush=True)
    guarded_count = sum(r["guarded"] is True for r in results)
    print(json.dumps({"breakages": len(results), "guarded": guarded_count, "results": results}))
    return 0 if guarded_count == len(results) else 1


def _try(breakage: Breakage, copy: Path) -> tuple[bool, str]:
    for name in COPIED:
        source, target = ROOT / name, copy / name
        shutil.rmtree(target, ignore_errors=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".sluice"))
        else:
            shutil.copy(source, target)
    if not _passes(breakage.test, copy):
        return False, "the test is red on the untouched code"
    file = copy / breakage.file
    text = file.read_text("utf-8")
    if text.count(breakage.was) != 1:
        return False, f"{breakage.file} reads differently now; fix the breakage"
    file.write_text(text.replace(breakage.was, breakage.becomes), "utf-8")
    return (False, "the test stays green") if _passes(breakage.test, copy) else (True, "")


def _passes(test: str, copy: Path) -> bool:
    """Whether the test passes on the copy of the code. PYTHONPATH makes the copy come before the installed package."""
    env = {
        **os.environ,
        "PYTHONPATH": f"{copy / 'libs'}{os.pathsep}{copy / 'services'}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--timeout", "120", test]
    try:
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, timeout=TEST_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
