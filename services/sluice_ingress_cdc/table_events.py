"""Makes the encoder of a table's events: in the form of its source, with the rules for its columns."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace

from sluice.cdc.column_json import PgType
from sluice.cdc.converter import RecordConverter
from sluice.cdc.debezium import CannotFollow, TableEvents
from sluice.cdc.debezium_errors import is_left_out
from sluice.cdc.debezium_form import column_rules
from sluice.cdc.encoded_events import EncodedEvents
from sluice.cdc.event_schema import ColumnCatalog, table_schemas
from sluice.cdc.pgoutput import Relation
from sluice.cdc.table_facts import TableFacts
from sluice.errors import SettingsError
from sluice_ingress_cdc.records import SlotTargets, TableTarget


def table_events(
    targets: SlotTargets,
    target: TableTarget,
    relation: Relation,
    types: Mapping[int, PgType],
    catalog: Mapping[str, ColumnCatalog],
    reread: Set[str] = frozenset(),
) -> TableEvents:
    """The encoder of the events of the table `target` in the shape `relation`. `catalog`: what the catalogs say about
    its columns. `reread`: as for `TableEvents`.

    Raises CannotFollow if the settings leave out a column of the key, and EnvironmentFault if the schema registry
    refuses the schemas, or does not answer and does not know them.
    """
    form, key = targets.form, target.key_columns
    try:
        rules = column_rules(targets.debezium, target.stream, [column.name for column in relation.columns], key)
    except SettingsError as error:
        raise CannotFollow(str(error)) from None
    if not form.has_schemas:
        return TableEvents(targets.source, relation, key, types, reread, form, rules, catalog)
    shown = rules
    if form.exact:
        lacking = {column.name for column in relation.columns if is_left_out(types, column.type_oid)}
        shown = replace(rules, left_out=rules.left_out | lacking)
    schemas = table_schemas(target.topic, relation, catalog, key, types, form, shown)
    converter = RecordConverter(target.topic, schemas, form, targets.register)
    return EncodedEvents(targets.source, relation, key, types, reread, form, rules, catalog, converter)


def catalog_of(facts: TableFacts | None) -> dict[str, ColumnCatalog]:
    """What the catalogs say about the columns of a table, by name."""
    columns = () if facts is None else facts.columns
    return {column.name: ColumnCatalog(column.nullable, column.default) for column in columns}
