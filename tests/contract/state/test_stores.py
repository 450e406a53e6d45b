"""The contract of a local store: RocksStore and MemoryStore pass the same suite."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice.errors import EnvironmentFault, StateUnusable
from sluice.state import RocksStore, Store
from sluice.state import store as store_module
from support.memory_store import MemoryStore
from support.waiting import eventually

KEYS = st.binary(min_size=1, max_size=3)
WRITES = st.lists(st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=4)), max_size=6), max_size=8)


@pytest.fixture(params=[MemoryStore, RocksStore], ids=["memory", "rocks"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    make: Callable[..., Store] = request.param
    opened = make() if make is MemoryStore else make(tmp_path / "store")
    yield opened
    opened.close()


def everything(store: Store) -> list[tuple[bytes, bytes]]:
    return list(store.scan(b""))


def test_an_unknown_key_has_no_value(store: Store) -> None:
    assert store.get(b"k") is None
    assert everything(store) == []


def test_the_last_write_of_a_key_counts_within_a_write_too(store: Store) -> None:
    store.write([(b"k", b"1"), (b"k", b"2")])
    assert store.get(b"k") == b"2"
    store.write([(b"k", None), (b"k", b"3")])
    assert store.get(b"k") == b"3"
    store.write([(b"k", b"4"), (b"k", None)])
    assert store.get(b"k") is None


def test_many_keys_are_read_at_once_in_the_order_in_which_they_are_given(store: Store) -> None:
    store.write([(b"a", b"1"), (b"b", b""), (b"c", b"3")])
    assert store.get_many([b"c", b"x", b"b", b"a", b"c"]) == [b"3", None, b"", b"1", b"3"]
    assert store.get_many([]) == []


def test_an_empty_value_is_a_value(store: Store) -> None:
    store.write([(b"k", b"")])
    assert store.get(b"k") == b""
    assert everything(store) == [(b"k", b"")]


def test_a_deleted_key_has_no_value_and_may_be_deleted_again(store: Store) -> None:
    store.write([(b"k", b"1")])
    store.write([(b"k", None)])
    store.write([(b"k", None)])
    assert store.get(b"k") is None
    assert everything(store) == []


def test_a_scan_returns_a_prefix_in_the_order_of_bytes(store: Store) -> None:
    keys = [b"a", b"b\x00", b"b\x00z", b"b\x7f", b"b\x80", b"b\xff\xff", b"c"]
    store.write([(key, key) for key in reversed(keys)])
    assert [key for key, _ in store.scan(b"b")] == keys[1:6]
    assert [key for key, _ in store.scan(b"")] == keys


def test_a_scan_continues_after_a_key_that_exists_or_not(store: Store) -> None:
    store.write([(b"p1", b""), (b"p3", b""), (b"q", b"")])
    assert [key for key, _ in store.scan(b"p", after=b"p1")] == [b"p3"]
    assert [key for key, _ in store.scan(b"p", after=b"p2")] == [b"p3"]
    assert [key for key, _ in store.scan(b"p", after=b"p3")] == []


def test_dropping_a_prefix_leaves_its_neighbours(store: Store) -> None:
    store.write([(key, b"") for key in (b"a\xff", b"b", b"b\x00", b"b\xff", b"c")])
    store.drop(b"b")
    assert [key for key, _ in everything(store)] == [b"a\xff", b"c"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=WRITES, prefix=st.binary(max_size=2), after=st.binary(max_size=3))
def test_a_store_contains_the_same_as_a_dictionary_after_any_writes(
    store: Store, writes: list[list[tuple[bytes, bytes | None]]], prefix: bytes, after: bytes
) -> None:
    store.drop(b"")
    values: dict[bytes, bytes] = {}
    for batch in writes:
        store.write(batch)
        for key, value in batch:
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
    assert everything(store) == sorted(values.items())
    expected = [(k, v) for k, v in sorted(values.items()) if k.startswith(prefix) and k > after]
    assert list(store.scan(prefix, after)) == expected


def test_writes_exist_after_the_store_is_opened_again(tmp_path: Path) -> None:
    first = RocksStore(tmp_path / "store")
    first.write([(b"k", b"1"), (b"deleted", b"1")])
    first.write([(b"deleted", None)])
    first.close()
    second = RocksStore(tmp_path / "store")
    assert everything(second) == [(b"k", b"1")]
    second.close()


WRITER = """
import os, signal, sys
from pathlib import Path
from sluice.state import RocksStore
store = RocksStore(Path(sys.argv[1]), 4 * 2**20)
for number in range(int(sys.argv[2])):
    text = b"%08d" % number
    store.write([(b"newest", text), (b"k" + text, os.urandom(1_000)), (b"r" + b"%02d" % (number % 50), text)])
print("written", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("writes", [10, 20_000])
def test_after_a_kill_a_store_contains_the_first_writes_and_no_part_of_the_others(tmp_path: Path, writes: int) -> None:
    """Most of 20,000 writes are on disk when the process is killed, because its memory has room for 1 MiB of them."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "store"), str(writes)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "written\n"), killed.stderr
    store = RocksStore(tmp_path / "store")
    newest = store.get(b"newest")
    kept = -1 if newest is None else int(newest)
    assert kept + 1 <= writes
    assert writes < 1_000 or kept > writes // 2
    assert [key for key, _ in store.scan(b"k")] == [b"k%08d" % number for number in range(kept + 1)]
    last_of = {b"r%02d" % (number % 50): b"%08d" % number for number in range(kept + 1)}
    assert dict(store.scan(b"r")) == last_of
    store.close()


def test_a_store_with_few_writes_writes_them_to_disk_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "FLUSH_INTERVAL_S", -1.0)
    store = RocksStore(tmp_path / "store")
    store.write([(b"k", b"1")])
    eventually(lambda: list((tmp_path / "store").glob("*.sst")), "a file with the write")
    store.close()


def test_a_second_process_in_the_same_folder_is_refused_with_the_next_step(tmp_path: Path) -> None:
    first = RocksStore(tmp_path / "store")
    with pytest.raises(EnvironmentFault, match="another process") as fault:
        RocksStore(tmp_path / "store")
    assert "stop the other process" in fault.value.next_step
    assert "delete" not in fault.value.next_step
    first.close()


@pytest.mark.parametrize("files", ["MANIFEST*", "CURRENT"])
def test_a_damaged_folder_is_a_fault_that_says_it_can_be_deleted(tmp_path: Path, files: str) -> None:
    folder = tmp_path / "block lock"
    store = RocksStore(folder)
    store.write([(b"k", b"1" * 100)])
    store.close()
    (damaged,) = folder.glob(files)
    damaged.write_bytes(b"damaged" + damaged.read_bytes()[7:])
    with pytest.raises(EnvironmentFault, match="it is damaged") as fault:
        RocksStore(folder)
    assert "delete the folder" in fault.value.next_step
    assert str(folder) not in fault.value.why


def test_a_folder_that_cannot_be_opened_is_a_fault_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "store" / "LOCK").mkdir(parents=True)
    with pytest.raises(EnvironmentFault, match=r"cannot be opened \(IO error: .*directory\)"):
        RocksStore(tmp_path / "store")


def test_a_folder_that_cannot_be_written_ends_the_process_with_its_name(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "store")
    store.close()
    with pytest.raises(StateUnusable, match="rebuilt from Kafka") as error:
        store.write([(b"k", b"1")])
    assert str(tmp_path / "store") in str(error.value)
