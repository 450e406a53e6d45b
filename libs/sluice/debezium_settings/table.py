"""Every setting of Debezium's PostgreSQL connector, by group. The page docs/reference/debezium-settings.md shows it."""

from __future__ import annotations

from collections.abc import Mapping

from sluice.debezium_settings import table_events, table_source
from sluice.debezium_settings.setting import Setting

GROUPS: Mapping[str, tuple[Setting, ...]] = {
    "Connection": table_source.CONNECTION,
    "Slot and publication": table_source.REPLICATION,
    "Tables": table_source.TABLES,
    "Snapshots and signals": table_source.SNAPSHOT,
    "Topics": table_events.TOPICS,
    "Events": table_events.EVENTS,
    "Values": table_events.VALUES,
    "Converters": table_events.CONVERTERS,
    "Running": table_events.RUNNING,
}
"""The settings by the title of their group."""

SETTINGS: Mapping[str, Setting] = {setting.name: setting for group in GROUPS.values() for setting in group}
_PATTERNS = [setting for setting in SETTINGS.values() if setting.pattern is not None]


def setting_of(name: str) -> Setting | None:
    """The setting that `name` names; None if Debezium's connector has no such setting. A setting whose name is fixed
    precedes one whose name varies; of the others, the first precedes."""
    found = SETTINGS.get(name)
    if found is not None:
        return found
    return next((one for one in _PATTERNS if one.pattern is not None and one.pattern.fullmatch(name)), None)
