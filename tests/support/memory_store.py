"""A local store in memory."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from sluice.state.store import Write


class MemoryStore:
    """Passes the same contract suite as RocksStore. `lose` undoes its newest writes, as a crash of a RocksStore may."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._undo: list[list[Write]] = []

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return [self._values.get(key) for key in keys]

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        index = bisect_left(self._keys, max(prefix, after))
        for key in self._keys[index:]:
            if not key.startswith(prefix):
                return
            if key > after:
                yield key, self._values[key]

    def write(self, writes: Iterable[Write]) -> None:
        changes = list(writes)
        self._undo.append([(key, self._values.get(key)) for key in dict(changes)])
        self._apply(changes)

    def lose(self, writes: int) -> None:
        """Undo the last `writes` calls of `write`, or all if there were fewer."""
        for _ in range(min(writes, len(self._undo))):
            self._apply(self._undo.pop())

    def _apply(self, changes: list[Write]) -> None:
        for key, value in changes:
            if value is None:
                if self._values.pop(key, None) is not None:
                    self._keys.pop(bisect_left(self._keys, key))
            else:
                if key not in self._values:
                    insort(self._keys, key)
                self._values[key] = value

    def drop(self, prefix: bytes) -> None:
        self.write([(key, None) for key, _ in list(self.scan(prefix))])

    def close(self) -> None:
        return
