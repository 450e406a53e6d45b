"""Settings come from the environment. An error names the variable, never its value."""

from __future__ import annotations

import pytest

from sluice.errors import SettingsError
from sluice.settings.stage import StageSettings, read_settings


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_KAFKA__BOOTSTRAP_SERVERS", "broker:9092")
    monkeypatch.setenv("SLUICE_BATCH_RECORDS_MAX", "100")
    settings = read_settings(StageSettings)
    assert (settings.kafka.bootstrap_servers, settings.batch_records_max) == ("broker:9092", 100)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SLUICE_KAFKA__BOOTSTRAP", "hunter2"),
        ("SLUICE_KAFKA__TRANSACTION_TIMEOUT_MS", "hunter2"),
        ("SLUICE_BATCH_RECORDS_MAX", "0"),
        ("SLUICE_TELEMETRY__PORT", "hunter2"),
    ],
)
def test_a_wrong_setting_is_named_and_not_quoted(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refused:
        read_settings(StageSettings)
    assert str(refused.value).startswith(f"{variable}: ")
    assert "hunter2" not in str(refused.value)
