"""Deletes that a poller withholds, and an operator's request to accept them.

A digest of the keys names the loss. So an operator accepts exactly the loss that was reported, and no key leaves the
poller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


def control_key(source: str, stream: str) -> str:
    """The key of a request in `sluice.control`."""
    return f"deletes/{source}/{stream}"


@dataclass(frozen=True, slots=True)
class Loss:
    """`keys` of `known` keys are missing from a listing. `digest` identifies them, in any order."""

    keys: int
    known: int
    digest: str

    @classmethod
    def of(cls, missing: Iterable[bytes], known: int) -> Loss:
        count = total = 0
        for key in missing:
            count += 1
            total += int.from_bytes(hashlib.blake2b(key, digest_size=16).digest(), "big")
        return cls(count, known, f"{total % (1 << 128):032x}")


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A request to accept the loss with `digest`. Each request is used once; `request` is its id."""

    request: str
    digest: str

    def to_json(self, at_us: int) -> dict[str, Any]:
        return {"request": self.request, "digest": self.digest, "at": at_us}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> Acceptance | None:
        """None for no request, and for one that is not understood."""
        if stored is None or not isinstance(stored.get("request"), str) or not isinstance(stored.get("digest"), str):
            return None
        return cls(stored["request"], stored["digest"])
