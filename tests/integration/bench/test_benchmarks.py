"""Each benchmark runs with a few records, and its checks of the results pass. No test here asserts a speed."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from bench import cdc, cdc_check, end_to_end, mapper, merger, peers, sampling, sink
from bench.contestant import Contestant, PythonPeer
from bench.options import Options
from bench.rounds import OURS
from bench.sampling import BenchError, Figures
from bench.servers import BenchServers
from sluice.embedded import Servers
from support.pace import within
from support.servers import drop_database

RECORDS = 1_000


@pytest.fixture(autouse=True)
def whole_runs_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand records may come at once. A run is then timed from the start of its process."""
    monkeypatch.setattr(sampling, "START_AT", 0.0)
    for module in (cdc, mapper, merger, sink, end_to_end):
        monkeypatch.setattr(module, "DEADLINE_S", within(120))


@pytest.fixture
def bench(servers: Servers) -> Iterator[BenchServers]:
    """The servers of the tests, as those of a benchmark. Its topics and databases are removed."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-bench-test-"))
    running = BenchServers(folder, servers)
    yield running
    for prefix in (f"{OURS}", "generator", "bare", "upsert"):
        running.topics.delete(prefix)
    with psycopg.connect(servers.postgres.dsn(), autocommit=True) as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE datname ~ '^(bench|source|target)(_|$)'")
        names = [str(name) for (name,) in found.fetchall()]
    for name in names:
        drop_database(servers, name)
    shutil.rmtree(folder)


def options(what: str) -> Options:
    return Options(what, RECORDS, RECORDS, partitions=2, peers=(), control=False)


def with_our_python(peer: Callable[[], Contestant]) -> Contestant:
    """A peer whose packages are also those of the tests, so that nothing is installed."""
    found = peer()
    assert isinstance(found, PythonPeer)
    found.use_python(Path(sys.executable))
    return found


def complete(found: Figures, records: int = RECORDS) -> bool:
    return found.measured == records and found.rate > 0 and found.client > 0 and found.rss_mib > 10


@pytest.mark.parametrize("source", ["polled", "cdc"])
def test_a_mapper_run_ends_when_every_record_is_mapped_and_committed(bench: BenchServers, source: str) -> None:
    chosen = Options("mapper", RECORDS, RECORDS // 2, partitions=2, peers=(), control=False, input=source)
    [ours] = mapper.contestants(chosen)
    running = mapper.MapperBench(chosen, bench)
    assert complete(running.run(ours, "ours_0_0"))
    assert complete(running.run(with_our_python(peers.PEERS["mapper"]["bare"]), "bare_0_0"), 2 * RECORDS)


def test_a_wrong_result_gives_no_figure(bench: BenchServers, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = options("mapper")
    expected = mapper.expected_totals(RECORDS, RECORDS, 0)
    monkeypatch.setattr(mapper, "expected_totals", lambda *_: expected._replace(quantity=expected.quantity + 1))
    [ours] = mapper.contestants(chosen)
    with pytest.raises(BenchError, match="wrong result"):
        mapper.MapperBench(chosen, bench).run(ours, "ours_0_0")


def test_merger_runs_continue_on_the_state_of_the_run_before(bench: BenchServers) -> None:
    chosen = options("merger")
    [ours] = merger.contestants(chosen)
    running = merger.MergerBench(chosen, bench)
    assert complete(running.run(ours, "ours_0_0"))
    assert complete(running.run(ours, "ours_1_0"))


def test_sink_runs_change_half_of_the_rows_and_add_the_other_half(bench: BenchServers) -> None:
    chosen = options("sink")
    [ours] = sink.contestants(chosen)
    running = sink.SinkBench(chosen, bench)
    try:
        assert complete(running.run(ours, "ours_0_0"))
        assert complete(running.run(with_our_python(peers.PEERS["sink"]["upsert"]), "upsert_0_0"))
    finally:
        running.close()


def test_a_followed_table_is_copied_caught_up_with_and_its_latencies_are_measured(
    bench: BenchServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cdc, "CHANGES_PER_S", 50)
    monkeypatch.setattr(cdc, "WARM_UP_S", 1)
    monkeypatch.setattr(cdc, "COUNTED_S", 2)
    chosen = options("cdc")
    [ours] = cdc.contestants(chosen)
    found = cdc.CdcBench(chosen, bench).run(ours, "ours_0_0")
    assert complete(found)
    assert found.snapshot_rate > 0
    assert 0 < found.latency_p50_ms <= found.latency_p99_ms
    assert 0 < found.latency_cores < 2


def test_events_of_a_followed_table_that_miss_a_change_give_no_figure(
    bench: BenchServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = cdc_check.events
    monkeypatch.setattr(cdc_check, "events", lambda messages: list(events(messages))[:-1])
    chosen = replace(options("cdc"), phases=("catch_up",))
    [ours] = cdc.contestants(chosen)
    with pytest.raises(BenchError, match="ours_0_0: the snapshot has 999 rows, expected 1000"):
        cdc.CdcBench(chosen, bench).run(ours, "ours_0_0")


def test_a_whole_pipeline_is_fed_and_its_latencies_are_read(
    bench: BenchServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(end_to_end, "CHANGES_PER_S", 50)
    monkeypatch.setattr(end_to_end, "WARM_UP_S", 1)
    monkeypatch.setattr(end_to_end, "COUNTED_S", 2)
    chosen = options("end_to_end")
    [ours] = end_to_end.contestants(chosen)
    found = end_to_end.EndToEndBench(chosen, bench).run(ours, "ours_0_0")
    assert complete(found)
    assert 0 < found.latency_p50_ms <= found.latency_p99_ms
    assert 0 < found.changes_per_s <= 51
