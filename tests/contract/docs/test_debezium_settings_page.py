"""The table of Debezium's settings contains every setting of the real connector, and the page shows the table.

`debezium_3_7_settings.tsv` contains what a Kafka Connect worker with Debezium's PostgreSQL connector 3.7.0 answers to
`PUT /connector-plugins/PostgresConnector/config/validate`: the name and the default of each setting.
"""

from __future__ import annotations

from pathlib import Path

from sluice.debezium_settings.table import SETTINGS, setting_of
from support.debezium_settings_page import PAGE, page

_REAL = Path(__file__).with_name("debezium_3_7_settings.tsv")
# Settings whose default is Sluice's own, as the page says; and the converters, which a worker sets.
_OWN_DEFAULT = {"key.converter", "value.converter", "custom.sanitize.pattern", "lsn.flush.mode"}
_SAMPLES = {
    "column.mask.hash.([^.]+).with.salt.(.+)": "column.mask.hash.SHA-256.with.salt.x",
    "column.mask.with.(d+).chars": "column.mask.with.5.chars",
    "column.truncate.to.(d+).chars": "column.truncate.to.5.chars",
}


def real_settings() -> dict[str, str]:
    lines = _REAL.read_text().splitlines()
    return {_SAMPLES.get(name, name): default for name, default in (line.split("\t") for line in lines)}


def test_the_page_of_debezium_s_settings_is_that_of_the_code() -> None:
    assert PAGE.read_text() == page(), "write it again: PYTHONPATH=tests python -m support.debezium_settings_page"


def test_every_setting_of_the_real_connector_is_in_the_table() -> None:
    assert [name for name in real_settings() if setting_of(name) is None] == []


def test_defaults_are_those_of_the_real_connector() -> None:
    compared = {name: default for name, default in real_settings().items() if name in SETTINGS}
    different = {
        name: (default, SETTINGS[name].default)
        for name, default in compared.items()
        if SETTINGS[name].effect != "ignored" and name not in _OWN_DEFAULT and default != (SETTINGS[name].default or "")
    }
    assert different == {}
