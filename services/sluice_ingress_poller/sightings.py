"""What a pass saw under each key, so that a key which is listed twice with two contents is not taken for two changes.

| the second content                                     | means                                | what is taken     |
|--------------------------------------------------------|--------------------------------------|-------------------|
| stands on another page, its cursor is later            | the row changed while pages were read | the later one    |
| stands on the same page of a listing                   | one key for two records              | neither           |
| has no later cursor                                    | nobody can say which is newer        | neither           |
| was replaced by a later one, and comes back beside it  | one key for two records              | neither           |

"Neither" leaves in force what was published before. A listing that shows such a key once ends it: the record is then
published by the next one, which follows at once.
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
class Twice:
    """What enumerations found: `withheld` keys stand for two records; of `replaced` keys an older content (its hash)
    was seen before the newer one. `unsure`: a new owner, who has not looked yet, in a stream that had such keys.
    """

    withheld: frozenset[bytes] = frozenset()
    replaced: dict[bytes, bytes] = field(default_factory=dict)
    unsure: bool = False


@dataclass(slots=True)
class Sorted:
    """The items of a page: `taken` may be published, `held` may not, `older` were replaced on the page itself."""

    taken: list[Item] = field(default_factory=list)
    held: int = 0
    older: int = 0


@dataclass(slots=True)
class Sightings:
    """Of one pass: 16 bytes for each key that it lists. `twice`: keys that it found to stand for two records."""

    before: Twice
    listing: bool
    twice: set[bytes] = field(default_factory=set)
    replaced: dict[bytes, bytes] = field(default_factory=dict)
    _marks: dict[bytes, bytes] = field(default_factory=dict)

    def sort_out(self, items: Sequence[Item], known: Callable[[bytes], bytes | None], where: str) -> Sorted:
        """Which `items` of a page may be published, given the content hashes that are `known`.

        Raises EnvironmentFault where so many keys are listed twice that the stream's key must be wrong.
        """
        on_page: dict[bytes, list[Item]] = {}
        for item in items:
            if item.key is not None:
                several = on_page.setdefault(item.key, [])
                if all(item.raw != one.raw for one in several):
                    several.append(item)
        chosen = {key: self._choose(key, several, known) for key, several in on_page.items()}
        if len(self.twice) > KEYS_MAX:
            why = f"more than {KEYS_MAX} keys are listed twice with different contents"
            raise EnvironmentFault(where, why, "declare a key that is unique in the source")
        found = Sorted()
        for item in items:
            one = chosen[item.key] if item.key is not None else item
            if one is None:
                found.held += 1
            elif one.raw == item.raw:
                found.taken.append(item)
            else:
                found.older += 1
        return found

    def after(self, whole: bool) -> Twice:
        """What the next pass must know, once this one has ended. Only a whole listing frees a key."""
        if self.listing and whole:
            return Twice(frozenset(self.twice), self.replaced)
        return Twice(self.before.withheld | self.twice, self.before.replaced, self.before.unsure)

    def _choose(self, key: bytes, several: list[Item], known: Callable[[bytes], bytes | None]) -> Item | None:
        item = _latest(several) if len(several) == 1 or not self.listing else None
        if item is None or not self._follows(key, _mark(item)):
            self.twice.add(key)
        self._marks[key] = _mark(item or several[-1])
        if item is None or key in self.twice or key in self.before.withheld:
            return None
        if self.before.unsure and known(key) not in (None, content_hash(item.raw)):
            return None
        return item

    def _follows(self, key: bytes, mark: bytes) -> bool:
        """Whether a content with `mark` may follow what was seen under `key`."""
        seen = self._marks.get(key)
        if seen is None:
            return self.before.replaced.get(key) != mark[:_HASH_BYTES]
        if seen[:_HASH_BYTES] == mark[:_HASH_BYTES]:
            return True
        if seen[_HASH_BYTES:] >= mark[_HASH_BYTES:]:
            return False
        if len(self.replaced) < KEYS_MAX:
            self.replaced[key] = seen[:_HASH_BYTES]
        return True


def _latest(several: list[Item]) -> Item | None:
    """The one whose cursor is later than that of all others; None if there is no such."""
    if len(several) == 1:
        return several[0]
    ordered = sorted(several, key=lambda item: _mark(item)[_HASH_BYTES:])
    return ordered[-1] if _mark(ordered[-1])[_HASH_BYTES:] > _mark(ordered[-2])[_HASH_BYTES:] else None


def _mark(item: Item) -> bytes:
    """Content and cursor in 16 bytes; those of two cursors compare as the cursors do, and none is the lowest."""
    at = 0 if item.cursor is None else min(max(order(item.cursor) + _ORDER_ZERO, 1), (1 << 64) - 1)
    return content_hash(item.raw)[:_HASH_BYTES] + at.to_bytes(8, "big")
