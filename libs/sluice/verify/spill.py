"""Stores entries by key in files of a temporary folder, so that two logs of any length are compared in bounded memory.

All entries of a key are in one bucket, and only one bucket of each log is in memory at a time (a Grace hash join).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from sluice.errors import EnvironmentFault

# With 100 million records a bucket has 200,000 records, which occupy some 100 MB of memory.
BUCKETS = 512
_BUFFER_BYTES_MAX = 16 * 1024
_LENGTHS = struct.Struct("<II")


class Spill:
    """A store of (key, entry) in buckets. A bucket returns its entries in the order in which they were added."""

    def __init__(self, folder: Path, name: str) -> None:
        self._files = [folder / f"{name}-{i}" for i in range(BUCKETS)]
        self._buffers = [bytearray() for _ in range(BUCKETS)]
        self._folder = folder

    def add(self, key: bytes, entry: bytes) -> None:
        at = crc32(key) % BUCKETS
        buffer = self._buffers[at]
        buffer += _LENGTHS.pack(len(key), len(entry))
        buffer += key
        buffer += entry
        if len(buffer) >= _BUFFER_BYTES_MAX:
            self._flush(at)

    def take(self, bucket: int) -> Iterator[tuple[bytes, bytes]]:
        """Yields every (key, entry) of `bucket`, then deletes the bucket."""
        data = memoryview(self._files[bucket].read_bytes() if self._files[bucket].exists() else b"")
        for part in (data, memoryview(bytes(self._buffers[bucket]))):
            at = 0
            while at < len(part):
                key_length, entry_length = _LENGTHS.unpack_from(part, at)
                entry_at = at + _LENGTHS.size + key_length
                yield bytes(part[at + _LENGTHS.size : entry_at]), bytes(part[entry_at : entry_at + entry_length])
                at = entry_at + entry_length
        self._buffers[bucket] = bytearray()
        self._files[bucket].unlink(missing_ok=True)

    def _flush(self, at: int) -> None:
        try:
            with self._files[at].open("ab") as file:
                file.write(self._buffers[at])
        except OSError as error:
            raise EnvironmentFault(
                f"temporary folder {self._folder}",
                f"cannot be written ({error.strerror})",
                "make room there, or name another folder with TMPDIR",
            ) from None
        self._buffers[at] = bytearray()
