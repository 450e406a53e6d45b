"""Keys land where Java's clients put them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.kafka import partitioner
from sluice.kafka.partitioner import murmur2, murmur2_partition


@pytest.mark.parametrize(
    ("key", "signed"),
    [  # the vectors of Kafka's own UtilsTest
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_the_one_of_kafkas_java_clients(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed % 2**32
    assert 0 <= murmur2_partition(key, 7) < 7


@given(st.binary(), st.integers(1, 10_000))
def test_the_partition_is_that_of_the_hash_in_python(key: bytes, partitions: int) -> None:
    assert murmur2_partition(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions


def test_the_client_library_computes_the_partition() -> None:
    assert partitioner.in_librdkafka() is not None
