"""Settings that users change, each with the workloads that show what it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.connect.settings import converter
from support.differential import Profile, Workload
from support.differential_types import FAMILIES, type_workload
from support.differential_workloads import WORKLOADS

TYPES = [type_workload(family) for family in FAMILIES]
BY_NAME = {workload.name: workload for workload in [*TYPES, *WORKLOADS]}


class Case(NamedTuple):
    """One run of both readers: a profile and its workloads."""

    profile: Profile
    workloads: Sequence[Workload]


def _types(name: str, **settings: object) -> Case:
    """All types, and keys of several types, under other handling modes. `settings`: with `_` for a dot."""
    modes = {key.replace("_", "."): value for key, value in settings.items()}
    odd = [BY_NAME[of] for of in ("odd_keys", "defaults_and_nulls", "deletes_with_default_identity")]
    return Case(Profile(name, modes), [*TYPES, *odd])


CUSTOMERS = Workload(
    "customers",
    ["public.customers"],
    [
        "CREATE TABLE customers (id int PRIMARY KEY, name text, card varchar(20), mail text, age int, notes text)",
        "ALTER TABLE customers REPLICA IDENTITY FULL",
        "INSERT INTO customers VALUES (1, 'Anna', '4111111111111111', 'a@example.org', 30, 'some longer text')",
    ],
    [
        "INSERT INTO customers VALUES (2, 'Béla', '4222', NULL, NULL, 'ab')",
        "UPDATE customers SET name = 'Zoë', card = NULL WHERE id = 2",
        "UPDATE customers SET id = 3 WHERE id = 2",
        "UPDATE customers SET age = 31 WHERE id = 1",
        "DELETE FROM customers",
    ],
)
PARTITIONED = Workload(
    "partitioned",
    ["public.sales"],
    [
        "CREATE TABLE sales (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
        "CREATE TABLE sales_north PARTITION OF sales FOR VALUES IN ('north')",
        "CREATE TABLE sales_south (v text, region text NOT NULL, id int NOT NULL)",
        "ALTER TABLE sales ATTACH PARTITION sales_south FOR VALUES IN ('south')",
        "INSERT INTO sales VALUES (1, 'north', 'a'), (2, 'south', 'b')",
    ],
    [
        "INSERT INTO sales VALUES (3, 'north', 'c'), (4, 'south', 'd')",
        "UPDATE sales SET v = 'e'",
        "UPDATE sales SET region = 'south' WHERE id = 3",  # the row moves to another partition
        "DELETE FROM sales WHERE region = 'south'",
    ],
)

CASES = [
    _types("decimals_double", decimal_handling_mode="double", binary_handling_mode="base64"),
    _types("texts", decimal_handling_mode="string", interval_handling_mode="string", hstore_handling_mode="map"),
    _types("connect_times", time_precision_mode="connect", binary_handling_mode="hex"),
    _types("iso_times", time_precision_mode="isostring", binary_handling_mode="base64-url-safe"),
    _types("microsecond_clocks", time_precision_mode="adaptive_time_microseconds", money_fraction_digits=3),
    _types("microseconds", time_precision_mode="microseconds"),
    _types("nanoseconds", time_precision_mode="nanoseconds"),
    _types("unknown_types", include_unknown_datatypes="true"),
    Case(
        Profile("schemas", {"key.converter.schemas.enable": "true", "value.converter.schemas.enable": "true"}),
        list(BY_NAME.values()),
    ),
    Case(
        Profile(
            "columns",
            {
                "column.exclude.list": "public.customers.age",
                "column.mask.with.8.chars": "public.customers.card",
                "column.mask.hash.v2.SHA-256.with.salt.s3": "public.customers.mail",
                "column.truncate.to.3.chars": "public.customers.notes",
                "message.key.columns": "public.customers:id,name",
                "tombstones.on.delete": "false",
                "unavailable.value.placeholder": "left out",
            },
        ),
        [CUSTOMERS, BY_NAME["identity_default"], BY_NAME["identity_full"]],
    ),
    Case(
        Profile("included_columns", {"column.include.list": r"public\.customers\.(id|name),public\.marker\..*"}),
        [CUSTOMERS],
    ),
    Case(
        Profile("transaction_metadata", {"provide.transaction.metadata": "true"}),
        [workload._replace(more_topics=[*workload.more_topics, "transaction"]) for workload in WORKLOADS],
    ),
    Case(Profile("partitions_via_root", {"publish.via.partition.root": "true"}), [PARTITIONED]),
    Case(
        Profile("plain_headers", {"extended.headers.enabled": "false", "skip.messages.without.change": "true"}),
        [BY_NAME["identity_full"], BY_NAME["swapped_keys"]],
    ),
]


def avro(registry_url: str) -> Case:
    """Keys and values as Avro, whose schemas are in the registry."""
    converters = {**converter("key", "avro", registry_url), **converter("value", "avro", registry_url)}
    return Case(Profile("avro", converters), list(BY_NAME.values()))
