"""The local store of a stage's state: an ordered map from bytes to bytes on disk (RocksDB). A list of
writes is atomic.

The store is a copy of compacted Kafka topics. It may be deleted while no process uses it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DBCompactionStyle,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from sluice.errors import EnvironmentFault, SettingsError, StateUnusable

Write = tuple[bytes, bytes | None]
_MIB = 1024 * 1024
DROP_SLICE_KEYS = 10_000
# A crash loses what is not flushed. A store with few writes would lose them all, and its checkpoints would be too old.
FLUSH_INTERVAL_S = 600.0


class Store(Protocol):
    """An ordered map from bytes to bytes. Keys are ordered by their bytes. To write None as the value of a key deletes
    the key."""

    def get(self, key: bytes) -> bytes | None: ...
    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """The value of each of `keys`, in their order. Sorted keys are read fastest."""
        ...

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """The pairs of key and value whose key starts with `prefix` and is greater than `after`, in the order of the
        keys."""
        ...

    def write(self, writes: Iterable[Write]) -> None:
        """Write all pairs of `writes` or none of them. Raises StateUnusable if the store cannot be written.

        A crash of the process may undo the last calls, in the reverse order of the calls."""
        ...

    def drop(self, prefix: bytes) -> None:
        """Delete every key of the store that starts with `prefix`."""
        ...

    def close(self) -> None: ...


def _open_fault(error: str, folder: Path) -> tuple[str, str]:
    """The cause for which RocksDB cannot open a store, and the next step, both from RocksDB's `error` text."""
    text = error.replace(str(folder), "…")
    if error.startswith("Corruption"):
        return f"it is damaged ({text})", "delete the folder and restart: the state is rebuilt from Kafka"
    if ("While lock file" in text and "Permission denied" not in text) or "lock hold by current process" in text:
        return "another process uses it", "stop the other process, or give this one another SLUICE_STATE_DIR"
    next_step = "check that this process may read and write it, and that the disk is not full"
    return f"it cannot be opened ({text})", next_step


def _options(memory_bytes: int) -> Options:
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(memory_bytes // 2))
    # With 500,000 keys, the read of a key that does not exist costs 0.9 µs with this filter, 1.9 µs without it.
    blocks.set_bloom_filter(10, False)
    # A change of a row of 770 bytes among a million costs 32 µs with RocksDB's defaults (level compaction, Snappy,
    # blocks of 4 KiB, a write-ahead log) and 11 µs with these settings. Compaction is two thirds of the difference.
    blocks.set_block_size(8 * 1024)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_write_buffer_size(memory_bytes // 4)
    options.set_max_write_buffer_number(2)
    options.set_max_open_files(64)
    options.set_keep_log_file_num(2)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_compaction_style(DBCompactionStyle.universal())
    options.set_max_background_jobs(4)  # small compactions must go on while a large one runs
    return options


def _without_log() -> WriteOptions:
    """No write-ahead log: a crash loses the newest writes and keeps all older ones, which is all that a view needs. The
    log would cost 4 µs for a row of 770 bytes. See decision 0053."""
    options: Any = WriteOptions()  # rocksdict declares the attribute as a method
    options.disable_wal = True
    return options  # type: ignore[no-any-return]


class RocksStore:
    """A RocksDB store in one folder, which only one process may open.

    After a crash of the process it may lack its newest writes: those of the last ten minutes at most, and at most as
    many as the memory for writes has room for. `close` keeps all.

    `memory_bytes`: half of it caches blocks that were read, half buffers writes. In addition, RocksDB has 10 bits of
    memory for each key, and the indexes, of the 64 files that it has open, which is about 60 MiB at most.
    """

    def __init__(self, folder: Path, memory_bytes: int = 32 * _MIB) -> None:
        self._folder = folder
        self._write_options = _without_log()
        self._flush_at_s = time.monotonic() + FLUSH_INTERVAL_S
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"state folder {folder}: cannot be created ({error.strerror})") from None
        try:
            self._db = Rdict(str(folder), _options(memory_bytes), access_type=AccessType.read_write())
        except Exception as error:  # rocksdict raises no narrower class than Exception
            raise EnvironmentFault(f"state folder {folder}", *_open_fault(str(error), folder)) from None

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._db.get(key)
        return value

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        # With 300,000 keys on disk, a key costs 18 µs in `get`, 14 here, and 8 here if the keys are sorted.
        read: Any = self._db.get
        values: list[bytes | None] = read(keys)
        return values

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        pairs: Any = self._db.items(from_key=max(prefix, after))
        for key, value in pairs:
            if not key.startswith(prefix):
                return
            if key > after:
                yield key, value

    def write(self, writes: Iterable[Write]) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in writes:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        if not len(batch):
            return
        try:
            self._db.write(batch, self._write_options)
            if time.monotonic() > self._flush_at_s:
                self._flush_at_s = time.monotonic() + FLUSH_INTERVAL_S
                self._db.flush(False)
        except Exception:  # rocksdict raises no narrower class than Exception
            raise StateUnusable(
                f"state folder {self._folder}: it cannot be written; is the disk full? "
                "Next: free space, and restart this stage. No data is lost: the state is rebuilt from Kafka"
            ) from None

    def drop(self, prefix: bytes) -> None:
        # The keys are deleted slice by slice, because all of them may not fit into memory.
        keys = (key for key, _ in self.scan(prefix))
        while found := list(islice(keys, DROP_SLICE_KEYS)):
            self.write((key, None) for key in found)

    def close(self) -> None:
        self._db.close()
