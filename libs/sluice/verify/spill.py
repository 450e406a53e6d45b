"""Entries by key in files of a temporary folder, so that two logs of any length are compared in bounded memory.

A key is always in the same bucket, so one bucket of each side is in memory at a time (a hash join that spills).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from sluice.errors import EnvironmentFault

# 100 million records are 200,000 a bucket: some 100 MB.
BUCKETS = 512
_BUFFER_BYTES_MAX = 16 * 1024
_LENGTHS = struct.Struct("<II")


class Spill:
    """Entries are added in any order; a bucket returns its entries in that order."""

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
        """Key and entry of everything in `bucket`; the bucket is then deleted."""
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
