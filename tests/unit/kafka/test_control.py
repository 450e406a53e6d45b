"""Operators' requests: the newest is in force, and one that no broker acknowledged is not reported as written."""

from __future__ import annotations

import socket
from typing import cast

import pytest

from sluice.errors import Transient
from sluice.kafka import KafkaSettings, LogReader
from sluice.kafka.control import request_in_force, write_request
from support.memory_log import MemoryLogs


def test_a_request_that_no_broker_acknowledged_says_that_it_may_not_be_written() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = KafkaSettings(bootstrap_servers=f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(Transient, match=r"sluice\.control: no broker answers; .* run the command again"):
            write_request(settings, "sluice.control", "skip/mapper/raw.hr.workers/0", {"to": 6}, within_s=0.5)


def test_the_newest_request_under_a_key_is_in_force_and_a_deleted_one_is_none() -> None:
    logs = MemoryLogs()
    for key, value in [
        (b"cdc/erp", b'{"n":1}'),
        (b"cdc/crm", b'{"n":2}'),
        (b"cdc/erp", b'{"n":3}'),
        (b"cdc/crm", None),
    ]:
        logs.append("sluice.control", 0, key, value, [])
    reader = cast(LogReader, logs)
    assert request_in_force(reader, "sluice.control", "cdc/erp") == {"n": 3}
    assert request_in_force(reader, "sluice.control", "cdc/crm") is None
    assert request_in_force(reader, "sluice.control", "cdc/unknown") is None
