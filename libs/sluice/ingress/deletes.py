"""Deletes that ingress-poller withholds because too many keys are missing, and an operator's request to accept them.

A digest identifies the missing keys. So an operator accepts exactly the keys that were reported, and ingress-poller
discloses no key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


def control_key(source: str, stream: str) -> str:
    """The key of an operator's request, in `sluice.control`, to accept the deletes of a stream."""
    return f"deletes/{source}/{stream}"


@dataclass(frozen=True, slots=True)
class Loss:
    """Known keys that a listing does not contain.

    `keys`: how many keys are missing. `known`: how many keys are known. `digest`: identifies the missing keys, in any
    order.
    """

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
    """An operator's request to accept the loss with `digest`. `request`: its id; each request is applied once."""

    request: str
    digest: str

    def to_json(self, at_us: int) -> dict[str, Any]:
        return {"request": self.request, "digest": self.digest, "at": at_us}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> Acceptance | None:
        """The request in `stored`, a value of `sluice.control`; None if there is none or it is invalid."""
        if stored is None or not isinstance(stored.get("request"), str) or not isinstance(stored.get("digest"), str):
            return None
        return cls(stored["request"], stored["digest"])
