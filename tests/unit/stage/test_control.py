"""An operator's request that no broker acknowledged must not be reported as made."""

from __future__ import annotations

import socket

import pytest

from sluice.errors import Transient
from sluice.kafka import KafkaSettings
from sluice.stage.control import write_request


def test_a_request_that_nobody_acknowledged_says_that_it_may_not_be_written() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = KafkaSettings(bootstrap_servers=f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(Transient, match=r"sluice\.control: no broker answers; .* run the command again"):
            write_request(settings, "sluice.control", "skip/mapper/raw.hr.workers/0", {"to": 6}, within_s=0.5)
