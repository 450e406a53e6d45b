"""Keys that a listing contains more than once: whether their two records are two states of one row, or two rows.

A row may change while the pages of a listing are read. Then the listing contains its key twice:

| the second record                                               | means                        | published is |
|-----------------------------------------------------------------|------------------------------|--------------|
| is on another page, and its cursor is later                     | the row changed              | the second   |
| is on the same page of an enumeration                           | two rows have one key        | neither      |
| has no later cursor                                             | it is unknown which is newer | neither      |
| was replaced by a later record before, and is listed again      | two rows have one key        | neither      |

If neither is published, the key is withheld, and the record that was published before stays. When an enumeration lists
the key with one record only, the key is released: the next enumeration, which follows at once, publishes its record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sluice.connector.cursor import order
from sluice.errors import EnvironmentFault
from sluice_ingress_poller.page import Item, content_hash

KEYS_MAX = 10_000
_HASH_BYTES = 8
_ORDER_ZERO = 1 << 63


@dataclass(frozen=True, slots=True)
class EarlierDuplicates:
    """What earlier enumerations found about keys that are listed twice. `withheld`: keys that two records have.

    `replaced`: by key, the hash of a record that was listed before a newer record of the same key. `unsure`: the stream
    had withheld keys under its previous owner, which are not known here before the first complete enumeration.
    """

    withheld: frozenset[bytes] = frozenset()
    replaced: dict[bytes, bytes] = field(default_factory=dict)
    unsure: bool = False


@dataclass(slots=True)
class DuplicateKeys:
    """The keys that one listing contains twice. The object takes 16 bytes of memory for each listed key.

    `everything`: whether the listing is an enumeration. `duplicates`: the keys that two records have. `replaced`: by
    key, the hash of a record that was listed before a newer record of the same key.
    """

    earlier: EarlierDuplicates
    everything: bool
    duplicates: set[bytes] = field(default_factory=set)
    replaced: dict[bytes, bytes] = field(default_factory=dict)
    _marks: dict[bytes, bytes] = field(default_factory=dict)

    def filtered(
        self, items: Sequence[Item], known: Callable[[bytes], bytes | None], where: str
    ) -> tuple[list[Item], int, int]:
        """The `items` of a page to publish, how many are withheld, and how many a later one on the page replaces.

        `known` returns the content hash of a key's newest record. Raises EnvironmentFault if more than KEYS_MAX keys
        are listed twice, because then the declared key of the stream must be wrong.
        """
        on_page: dict[bytes, list[Item]] = {}
        for item in items:
            if item.key is not None:
                several = on_page.setdefault(item.key, [])
                if all(item.raw != one.raw for one in several):
                    several.append(item)
        chosen = {key: self._choose(key, several, known) for key, several in on_page.items()}
        if len(self.duplicates) > KEYS_MAX:
            why = f"more than {KEYS_MAX} keys are listed twice with different contents"
            raise EnvironmentFault(where, why, "declare a key that is unique in the source")
        latest = [(item, chosen[item.key] if item.key is not None else item) for item in items]
        to_publish = [item for item, one in latest if one is not None and one.raw == item.raw]
        withheld = sum(one is None for _, one in latest)
        return to_publish, withheld, len(items) - len(to_publish) - withheld

    def after(self, complete: bool) -> EarlierDuplicates:
        """What the next listing must know about duplicate keys. `complete`: whether this listing is complete.

        Only a complete enumeration releases a withheld key.
        """
        if self.everything and complete:
            return EarlierDuplicates(frozenset(self.duplicates), self.replaced)
        return EarlierDuplicates(self.earlier.withheld | self.duplicates, self.earlier.replaced, self.earlier.unsure)

    def _choose(self, key: bytes, several: list[Item], known: Callable[[bytes], bytes | None]) -> Item | None:
        item = _latest(several) if len(several) == 1 or not self.everything else None
        if item is None or not self._follows(key, _mark(item)):
            self.duplicates.add(key)
        self._marks[key] = _mark(item or several[-1])
        if item is None or key in self.duplicates or key in self.earlier.withheld:
            return None
        if self.earlier.unsure and known(key) not in (None, content_hash(item.raw)):
            return None
        return item

    def _follows(self, key: bytes, mark: bytes) -> bool:
        """Whether the record with `mark` can be a later state of the record that this listing had before for `key`."""
        before = self._marks.get(key)
        if before is None:
            return self.earlier.replaced.get(key) != mark[:_HASH_BYTES]
        if before[:_HASH_BYTES] == mark[:_HASH_BYTES]:
            return True
        if before[_HASH_BYTES:] >= mark[_HASH_BYTES:]:
            return False
        if len(self.replaced) < KEYS_MAX:
            self.replaced[key] = before[:_HASH_BYTES]
        return True


def _latest(several: list[Item]) -> Item | None:
    """The item of `several` whose cursor is later than the cursors of all others; None if two have the latest one."""
    if len(several) == 1:
        return several[0]
    ordered = sorted(several, key=lambda item: _mark(item)[_HASH_BYTES:])
    return ordered[-1] if _mark(ordered[-1])[_HASH_BYTES:] > _mark(ordered[-2])[_HASH_BYTES:] else None


def _mark(item: Item) -> bytes:
    """A record's content hash (8 bytes) and its cursor (8 bytes), which compares as bytes. No cursor is the lowest."""
    at = 0 if item.cursor is None else min(max(order(item.cursor) + _ORDER_ZERO, 1), (1 << 64) - 1)
    return content_hash(item.raw)[:_HASH_BYTES] + at.to_bytes(8, "big")
