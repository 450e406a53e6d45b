"""`docs/reference/debezium-settings.md`, written from the table of settings.

`PYTHONPATH=tests python -m support.debezium_settings_page` writes it again.
"""

from __future__ import annotations

from collections.abc import Iterator

from sluice.debezium_settings.setting import Setting
from sluice.debezium_settings.table import GROUPS
from support.repository import ROOT

PAGE = ROOT / "docs" / "reference" / "debezium-settings.md"

_HEAD = """# Debezium's settings

A followed source may have settings of Debezium's PostgreSQL connector, under Debezium's names. They are members of
`debezium` in the [pipeline file](pipeline-file.md), or the JSON configuration of a connector, as it is:

```yaml
sources:
  shop:
    cdc: postgres
    debezium: connectors/shop.json
  erp:
    cdc: postgres
    dsn: {env: ERP_DSN}
    tables: [public.move]
    debezium: {decimal.handling.mode: precise, time.precision.mode: connect, tombstones.on.delete: false}
```

With `debezium`, what is not set has Debezium's default. Without it, events have Sluice's own form. A setting is
**supported**, **ignored** (accepted without effect), or **refused** by name. A refused setting is accepted with
Debezium's default, because it then asks for nothing. A name that Debezium does not know is refused with the most
similar name. The settings are those of Debezium 3.7.
"""


def page() -> str:
    """The page as the code has it."""
    return _HEAD + "".join(_sections())


def _sections() -> Iterator[str]:
    for title, settings in GROUPS.items():
        rows = "\n".join(map(_row, settings))
        yield f"\n## {title}\n| setting | default | effect | what |\n|---|---|---|---|\n{rows}\n"


def _row(setting: Setting) -> str:
    default = f"`{setting.default}`" if setting.default else "none"
    return f"| `{setting.name}` | {default} | {setting.effect} | {_what(setting)} |".replace("<", "&lt;")


def _what(setting: Setting) -> str:
    text = f"{setting.text[0].upper()}{setting.text[1:]}".rstrip(".")
    choices = [choice for choice in setting.choices if choice not in setting.refused_values]
    values = f" Values: {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
    refused = "".join(f" `{value}` is refused: {why}." for value, why in setting.refused_values.items())
    return f"{text}.{values}{refused}"


if __name__ == "__main__":
    PAGE.write_text(page())
