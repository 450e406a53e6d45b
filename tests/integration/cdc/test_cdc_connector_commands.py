"""`sluice cdc epoch` and `sluice cdc sweep`: a source moves from a Debezium connector to ingress-cdc and back."""

from __future__ import annotations

from typing import Any

import orjson

from sluice.ingress.producer import IngressProducer
from sluice.kafka import clients
from sluice.raw.connector_record import epochs_key, epochs_of
from support.cdc import PARTITIONS, Source
from support.cdc_commands import cdc, cdc_text


def write_as_connector(source: Source, key: int, sequence: list[str | None], snapshot: str = "false") -> None:
    """Write a record as a connector with `topic.prefix` writes it: no header, a position in `source.sequence`."""
    producer = clients.producer(source.kafka)
    lsn = int(sequence[1] or 0)
    about = {"ts_ms": 1, "lsn": lsn, "snapshot": snapshot, "sequence": orjson.dumps(sequence).decode()}
    value = {"before": None, "after": {"id": key, "name": "connector"}, "op": "u", "source": about}
    topic = source.pipeline.names.raw("erp", "public.employee")
    producer.produce(topic, orjson.dumps(value), orjson.dumps({"id": key}))
    assert producer.flush(10) == 0


def control(source: Source) -> dict[str, Any] | None:
    log = IngressProducer(source.kafka, source.pipeline.names, "reader")
    return log.read_control([epochs_key("erp")]).get(epochs_key("erp"))


def test_ingress_cdc_takes_an_epoch_above_that_of_the_connector_before_it(source: Source) -> None:
    source.sql("INSERT INTO employee VALUES (1, 'Ada')")
    write_as_connector(source, 1, ["100", "200"])
    code, facts = cdc(source, "epoch", "erp")
    assert (code, facts["epoch"]) == (0, 2)
    (epoch,) = epochs_of(control(source))
    assert sum(sum(starts) for starts in epoch.starts.values()) == 1
    with source.followed() as running:
        running.await_streaming()
        source.published_up_to(source.wal_lsn())
        watermark = source.watermark()
        assert watermark is not None
        assert watermark.epoch == 3
    code, facts = cdc(source, "epoch", "erp")
    assert (code, facts["epoch"]) == (0, 4)
    first, second = epochs_of(control(source))
    assert first == epoch
    assert [len(starts) for starts in second.starts.values()] == [PARTITIONS]


def test_a_sweep_waits_for_the_snapshot_of_the_connector_and_is_of_its_epoch(source: Source) -> None:
    write_as_connector(source, 1, [None, "100"], "true")
    assert cdc(source, "epoch", "erp")[0] == 0
    write_as_connector(source, 2, [None, "300"], "true")
    refused = cdc_text(source, "sweep", "erp", "--table", "public.employee")
    assert (refused.returncode, "--complete" in refused.stderr) == (3, True)
    write_as_connector(source, 3, [None, "300"], "last")
    code, facts = cdc(source, "sweep", "erp", "--table", "public.employee")
    assert (code, facts) == (0, {"source": "erp", "table": "public.employee", "epoch": 2})
