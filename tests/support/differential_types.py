"""Columns of every built-in type with ordinary, extreme and special values, in tables that belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from support.differential import Workload

Columns = Mapping[str, tuple[str, Sequence[str]]]
"""Name → type and values, as SQL. Row n of the table has value n of each column, NULL if the column has fewer."""

NUMBERS: Columns = {
    "flag": ("boolean", ["true", "false"]),
    "small": ("smallint", ["-32768", "32767", "0"]),
    "whole": ("integer", ["-2147483648", "2147483647"]),
    "big": ("bigint", ["-9223372036854775808", "9223372036854775807"]),
    "object": ("oid", ["0", "4294967295"]),
    "single": ("real", ["0.1", "1e-45", "3.4028235e38", "-0.0", "16777217", "1e6", "1e7", "1e21", "'NaN'"]),
    "wide": (
        "double precision",
        ["0.1", "5e-324", "1.7976931348623157e308", "'-0'", "1e6", "1e7", "12345678.9", "1e21", "0.001", "0.0001"],
    ),
    "amount": ("numeric(12,4)", ["1234.5", "-0.0001", "99999999.9999", "0"]),
    "whole_amount": ("numeric(5)", ["99999", "-1"]),
    "negative_scale": ("numeric(3,-2)", ["12300", "-100"]),
    "all_fraction": ("numeric(2,4)", ["0.0012"]),
    "free": (
        "numeric",
        ["0", "1", "-1", "128", "-128", "1.10", "1e30", "-1e-30", "123456789012345678901234567890.123456789", "100"],
    ),
    "huge": ("numeric", ["1" + "0" * 400, "0." + "0" * 300 + "1"]),
    "wide_declared": ("numeric(60,20)", ["1234567890123456789012345678901234567890.01234567890123456789"]),
    "cash": ("money", ["12.34", "-0.01", "'-92233720368547758.08'", "'92233720368547758.07'"]),
}
SPECIAL_FLOATS: Columns = {
    "single": ("real", ["'NaN'", "'Infinity'", "'-Infinity'"]),
    "wide": ("double precision", ["'NaN'", "'Infinity'", "'-Infinity'"]),
}
SPECIAL_NUMERICS: Columns = {"free": ("numeric", ["'NaN'", "'Infinity'", "'-Infinity'", "1"])}
SPECIAL_DECLARED: Columns = {"amount": ("numeric(10,2)", ["'NaN'", "1"])}
TEXTS: Columns = {
    "label": ("text", ["''", "E'a \"b\" \\\\ é \\n\\t\\x01'", "'😀 \u2028'", "E'\\x7f'"]),
    "limited": ("varchar(40)", ["'x'", "' '"]),
    "unlimited": ("varchar", ["'x'"]),
    "padded": ("char(3)", ["'x'", "''", "'abc'"]),
    "one": ("char", ["'x'"]),
    "internal": ('"char"', ["'x'", "''"]),
    "system": ("name", ["'x'"]),
    "bytes": ("bytea", ["'\\x'", "'\\x00ff10'", "'\\xfbefff'"]),
    "fixed_bits": ("bit(3)", ["B'101'", "B'000'"]),
    "one_bit": ("bit", ["B'1'", "B'0'"]),
    "many_bits": ("bit(10)", ["B'1000000001'"]),
    "varied_bits": ("varbit(12)", ["B''", "B'1'", "B'100000000001'"]),
    "free_bits": ("varbit", ["B'101'"]),
    "tag": ("uuid", ["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"]),
    "document": ("json", ['\'{"b": 1, "a": [1.10]}\'', "'null'", "'  [1 ]'"]),
    "binary_document": ("jsonb", ['\'{"b": 1, "a": [1.10], "n": 12345678901234567890.00}\'', "'null'", "'\"x\"'"]),
    "markup": ("xml", []),  # the embedded server is built without libxml, so there is no value to write
    "words": ("tsvector", ["'a:1 b:2A'"]),
    "search": ("tsquery", ["'a & !b'"]),
    "path_in_json": ("jsonpath", ["'$.a[*]'"]),
}
TIMES: Columns = {
    "day": ("date", ["'1970-01-01'", "'2024-02-29'", "'0001-01-01'", "'9999-12-31'"]),
    "old_day": ("date", ["'0044-03-15 BC'", "'4713-01-01 BC'", "'1582-10-04'", "'0001-12-31 BC'"]),
    "late_day": ("date", ["'5874897-12-31'", "'10000-01-01'"]),
    "clock": ("time", ["'10:00:00.5'", "'00:00'", "'23:59:59.999999'", "'23:59:60'"]),
    "midnight": ("time", ["'24:00'"]),
    "clock_ms": ("time(3)", ["'10:00:00.5'", "'24:00'", "'23:59:59.999'"]),
    "clock_s": ("time(0)", ["'10:00:00'"]),
    "clock_5": ("time(5)", ["'10:00:00.12345'"]),
    "clock_zone": ("timetz", ["'10:00:00.5+02'", "'00:00-15:59'", "'23:59:59.999999+15:59'", "'10:00:00Z'"]),
    "midnight_zone": ("timetz", ["'24:00+00'", "'24:00+02'"]),
    "clock_zone_ms": ("timetz(3)", ["'10:00:00.5+02'", "'10:00:00+05:30:15'"]),
    "at": ("timestamp", ["'2024-01-31 10:00:00.123456'", "'1970-01-01'", "'1969-12-31 23:59:59.999999'"]),
    "at_ms": ("timestamp(3)", ["'2024-01-31 10:00:00.123'", "'1969-12-31 23:59:59.999'"]),
    "at_s": ("timestamp(0)", ["'2024-01-31 10:00:00'"]),
    "at_5": ("timestamp(5)", ["'2024-01-31 10:00:00.12345'"]),
    "old_at": (
        "timestamp",
        ["'0044-03-15 10:00:00.5 BC'", "'4713-01-01 00:00 BC'", "'1582-10-04 12:00'", "'0001-01-01'"],
    ),
    "late_at": ("timestamp", ["'294276-12-31 23:59:59.999999'", "'10000-01-01'"]),
    "moment": (
        "timestamptz",
        ["'2024-01-31 10:00:00.5+02'", "'1970-01-01Z'", "'2016-12-31 23:59:60Z'", "'2024-01-31Z'"],
    ),
    "moment_ms": ("timestamptz(3)", ["'2024-01-31 10:00:00.123+02'", "'2024-01-31 10:00:00Z'"]),
    "moment_s": ("timestamptz(0)", ["'2024-01-31 10:00:00+02'"]),
    "old_moment": ("timestamptz", ["'0044-03-15 10:00:00.5Z BC'", "'0001-01-01Z'", "'1582-10-04 12:00Z'"]),
    "late_moment": ("timestamptz", ["'294276-12-31 23:59:59.999999Z'", "'10000-01-01Z'"]),
    "during": (
        "interval",
        ["'1 day 2 hours'", "'1 mon'", "'1 year 2 mons -3 days 04:05:06.789'", "'-00:00:00.000001'", "'0'"],
    ),
    "long_during": ("interval", ["'178000000 years'", "'-178000000 years'", "'2147483647 days'"]),
    "during_years": ("interval year", ["'3 years'"]),
    "during_ms": ("interval(3)", ["'1.234 s'"]),
}
INFINITE_DAYS: Columns = {"day": ("date", ["'infinity'", "'-infinity'"])}
INFINITE_TIMES: Columns = {
    "at": ("timestamp", ["'infinity'", "'-infinity'"]),
    "at_ms": ("timestamp(3)", ["'infinity'", "'-infinity'"]),
    "moment": ("timestamptz", ["'infinity'", "'-infinity'"]),
}
INFINITE_INTERVALS: Columns = {"during": ("interval", ["'infinity'", "'-infinity'"])}
PLACES: Columns = {
    "point": ("point", ["'(1.5,-2)'", "'(0,0)'", "'(1e300,1e-300)'"]),
    "line": ("line", ["'{1,2,3}'"]),
    "segment": ("lseg", ["'[(0,0),(1,1)]'"]),
    "box": ("box", ["'(1,1),(0,0)'"]),
    "path": ("path", ["'[(0,0),(1,1)]'", "'((0,0),(1,1))'"]),
    "polygon": ("polygon", ["'((0,0),(1,1),(1,0))'"]),
    "circle": ("circle", ["'<(0,0),1>'"]),
    "address": ("inet", ["'10.0.0.1/8'", "'10.0.0.1'", "'::1'"]),
    "network": ("cidr", ["'10.0.0.0/8'", "'::/0'"]),
    "device": ("macaddr", ["'08:00:2b:01:02:03'"]),
    "device8": ("macaddr8", ["'08:00:2b:01:02:03:04:05'"]),
    "log_place": ("pg_lsn", ["'16/B374D848'"]),
    "snapshot": ("pg_snapshot", ["'10:20:10,14,15'"]),
    "old_snapshot": ("txid_snapshot", ["'10:20:10,14,15'"]),
    "transaction": ("xid8", ["'18446744073709551615'"]),
    "old_transaction": ("xid", ["'4294967295'"]),
    "command": ("cid", ["'7'"]),
    "row_place": ("tid", ["'(1,2)'"]),
    "class": ("regclass", ["'pg_class'"]),
    "type": ("regtype", ["'int4'"]),
    "oids": ("oidvector", ["'1 2'"]),
    "int2s": ("int2vector", ["'1 2'"]),
}
RANGES: Columns = {
    "whole": ("int4range", ["'[1,5)'", "'empty'", "'(,)'"]),
    "big": ("int8range", ["'[1,5)'", "'[1,)'"]),
    "number": ("numrange", ["'(1.5,2]'"]),
    "day": ("daterange", ["'[2024-01-01,infinity)'", "'[2024-01-01,2024-02-01)'"]),
    "at": ("tsrange", ["'[2024-01-01 10:00,2024-02-01)'", "'[-infinity,infinity]'"]),
    "moment": ("tstzrange", ["'[2024-01-01 10:00+02,)'"]),
    "wholes": ("int4multirange", ["'{[1,2),[5,7)}'", "'{}'"]),
    "numbers": ("nummultirange", ["'{(1,2]}'"]),
    "moments": ("tstzmultirange", ["'{[2024-01-01 10:00+02,)}'"]),
}
OWN_TYPES: Columns = {
    "mood": ("mood", ["'so so'", "'good'"]),
    "moods": ("mood[]", ["'{good,NULL}'", "'{}'"]),
    "percent": ("percent", ["99.5", "-1"]),
    "percents": ("percent[]", ["'{99.5,NULL}'"]),
    "nested_domain": ("small_percent", ["1.25"]),
    "name_domain": ("label", ["'x'"]),
    "place": ("place", ["ROW('Bonn', 5)", "ROW(NULL, NULL)"]),
    "places": ("place[]", ["ARRAY[ROW('Bonn', 5)::place]"]),
    "span": ("floatspan", ["'[1.5,2)'"]),
}
OWN_TYPES_SQL = (
    "CREATE TYPE mood AS ENUM ('good', 'so so')",
    "CREATE DOMAIN percent AS numeric(5,2)",
    "CREATE DOMAIN small_percent AS percent CHECK (VALUE < 10)",
    "CREATE DOMAIN label AS varchar(10)",
    "CREATE TYPE place AS (city text, floor int)",
    "CREATE TYPE floatspan AS RANGE (subtype = float8)",
)
ARRAYS: Columns = {
    "flags": ("boolean[]", ["'{t,f,NULL}'", "'{}'"]),
    "smalls": ("smallint[]", ["'{1,NULL,-3}'", "'{}'"]),
    "wholes": ("int[]", ["'{1,NULL,3}'", "'{}'"]),
    "bigs": ("bigint[]", ["'{9223372036854775807}'"]),
    "singles": ("real[]", ["'{0.1,1e10}'"]),
    "wides": ("float8[]", ["'{0.1,1e-10}'"]),
    "amounts": ("numeric(10,2)[]", ["'{1.5,NULL}'"]),
    "free": ("numeric[]", ["'{1.50,1e20}'"]),
    "cash": ("money[]", ["'{1.50}'"]),
    "texts": ("text[]", ["ARRAY['a,b', 'c\"d', NULL, '', 'NULL']", "'{}'"]),
    "limited": ("varchar(5)[]", ["'{a}'"]),
    "padded": ("char(3)[]", ["'{a}'"]),
    "bytes": ("bytea[]", ["ARRAY['\\x00ff'::bytea]"]),
    "tags": ("uuid[]", ["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"]),
    "documents": ("json[]", ["ARRAY['{\"a\": 1}'::json]"]),
    "binary_documents": ("jsonb[]", ["ARRAY['{\"a\": 1}'::jsonb]"]),
    "days": ("date[]", ["'{2024-01-31,NULL}'", "'{0044-03-15 BC}'"]),
    "clocks": ("time[]", ["'{10:00:00.5}'"]),
    "clocks_zone": ("timetz[]", ["'{10:00:00.5+02}'"]),
    "ats": ("timestamp[]", ["'{2024-01-31 10:00:00.123456}'"]),
    "ats_ms": ("timestamp(3)[]", ["'{2024-01-31 10:00:00.123}'"]),
    "moments": ("timestamptz[]", ["'{2024-01-31 10:00+02}'"]),
    "durings": ("interval[]", ["'{1 day}'"]),
    "addresses": ("inet[]", ["'{10.0.0.1}'"]),
    "spans": ("int4range[]", ["ARRAY['[1,5)'::int4range]"]),
    "points": ("point[]", ["ARRAY['(1,2)'::point]"]),
    "bits": ("bit(3)[]", ["'{101}'"]),
    "objects": ("oid[]", ["'{1}'"]),
}
NESTED_ARRAYS: Columns = {
    "grid": ("int[]", ["'{{1,2},{3,4}}'", "'[0:1]={5,6}'"]),
    "words": ("text[][]", ["'{{a,NULL},{b,c}}'"]),
}
EXTENSIONS: Columns = {
    "pairs": ("hstore", ["'a=>1, b=>NULL'", "''", '\'"k \\""=>"v"\'']),
    "folded": ("citext", ["'Ab'"]),
    "tree": ("ltree", ["'a.b.c'"]),
    "trees": ("ltree[]", ["'{a.b}'"]),
    "embedding": ("vector(3)", ["'[1,2.5,-3]'"]),
    "half": ("halfvec(3)", ["'[1,2.5,-3]'"]),
    "sparse": ("sparsevec(5)", ["'{1:1.5,3:2}/5'"]),
}
EXTENSIONS_SQL = tuple(f"CREATE EXTENSION IF NOT EXISTS {name}" for name in ("hstore", "citext", "ltree", "vector"))

FAMILIES: dict[str, tuple[Columns, Sequence[str]]] = {
    "numbers": (NUMBERS, ()),
    "special_floats": (SPECIAL_FLOATS, ()),
    "special_numerics": (SPECIAL_NUMERICS, ()),
    "special_declared": (SPECIAL_DECLARED, ()),
    "texts": (TEXTS, ()),
    "times": (TIMES, ()),
    "infinite_days": (INFINITE_DAYS, ()),
    "infinite_times": (INFINITE_TIMES, ()),
    "infinite_intervals": (INFINITE_INTERVALS, ()),
    "places": (PLACES, ()),
    "ranges": (RANGES, ()),
    "own_types": (OWN_TYPES, OWN_TYPES_SQL),
    "arrays": (ARRAYS, ()),
    "nested_arrays": (NESTED_ARRAYS, ()),
    "extensions": (EXTENSIONS, EXTENSIONS_SQL),
}


def type_workload(family: str) -> Workload:
    """Rows of a family of types in a snapshot, and again in the stream."""
    columns, before = FAMILIES[family]
    declared = ", ".join(f'"{name}" {column[0]}' for name, column in columns.items())
    table = f"t_{family}"
    create = f"CREATE TABLE {table} (id int PRIMARY KEY, {declared})"
    snapshot = [f"INSERT INTO {table} VALUES ({n}, {row})" for n, row in enumerate(_rows(columns), 1)]
    stream = [f"INSERT INTO {table} VALUES ({n}, {row})" for n, row in enumerate(_rows(columns), 101)]
    return Workload(family, [f"public.{table}"], [*before, create, *snapshot], stream)


def _rows(columns: Columns) -> Iterator[str]:
    for row in zip_longest(*(values for _, values in columns.values()), fillvalue="NULL"):
        yield ", ".join(row)
    yield ", ".join(["NULL"] * len(columns))
