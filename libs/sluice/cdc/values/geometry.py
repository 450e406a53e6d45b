"""Writers of Postgres' geometric types, of PostGIS and of pgvector, as Debezium's structs."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from struct import pack

from sluice.cdc.values.java_order import java_order
from sluice.cdc.values.numbers import double
from sluice.cdc.values.writer import ToJson

_NUMBER = re.compile(rb"[^()<>\[\]{},]+")
_SRID = 0x20000000
_LINE_STRING, _POLYGON = 2, 3

Points = Sequence[tuple[float, float]]


def _numbers(text: bytes) -> list[float]:
    return [float(number) for number in _NUMBER.findall(text)]


def _points(text: bytes) -> list[tuple[float, float]]:
    numbers = _numbers(text)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def point(text: bytes) -> bytes:
    """The point `(x,y)`."""
    return _point(*_numbers(text))


def _point(x: float, y: float) -> bytes:
    wkb = b64encode(pack("<BIdd", 1, 1, x, y))
    return b'{"x":%b,"y":%b,"wkb":"%b","srid":null}' % (double(x), double(y), wkb)


def line(text: bytes) -> bytes:
    """The line `{A,B,C}`."""
    return b'{"a":%b,"b":%b,"c":%b}' % tuple(map(double, _numbers(text)))


def circle(text: bytes) -> bytes:
    """The circle `<(x,y),r>`."""
    x, y, radius = _numbers(text)
    return b'{"center":%b,"radius":%b}' % (_point(x, y), double(radius))


def segment(text: bytes) -> bytes:
    """The line segment `[(x,y),(x,y)]`."""
    return _shape(_LINE_STRING, _points(text), b'"type":"lseg"')


def box(text: bytes) -> bytes:
    """The box `(x,y),(x,y)`, as a ring."""
    (x1, y1), (x2, y2) = _points(text)
    return _shape(_POLYGON, [(x1, y1), (x1, y2), (x2, y2), (x2, y1), (x1, y1)], b'"type":"box"')


def path(text: bytes) -> bytes:
    """The path `[(x,y),…]`, or `((x,y),…)` if it is closed."""
    closed = b"false" if text.startswith(b"[") else b"true"
    return _shape(_LINE_STRING, _points(text), b'"type":"path","closed":"%b"' % closed)


def polygon(text: bytes) -> bytes:
    """The polygon `((x,y),…)`, as a ring."""
    points = _points(text)
    ring = points if len(points) < 2 or points[0] == points[-1] else [*points, points[0]]
    return _shape(_POLYGON, ring, b'"type":"polygon"')


def _shape(kind: int, points: Points, extensions: bytes) -> bytes:
    head = pack("<BI", 1, kind) + (pack("<I", 1) if kind == _POLYGON else b"")
    wkb = head + pack("<I", len(points)) + b"".join([pack("<dd", x, y) for x, y in points])
    return b'{"wkb":"%b","srid":null,"extensions":{%b}}' % (b64encode(wkb), extensions)


def postgis(text: bytes) -> bytes:
    """A geometry of PostGIS: extended WKB in hexadecimal digits."""
    return b'{"wkb":"%b","srid":%b,"extensions":null}' % _wkb_and_srid(text)


def _wkb_and_srid(text: bytes) -> tuple[bytes, bytes]:
    wkb = bytes.fromhex(text.decode())
    order = "little" if wkb[0] else "big"
    has_srid = int.from_bytes(wkb[1:5], order) & _SRID  # type: ignore[arg-type]
    srid = b"%d" % int.from_bytes(wkb[5:9], order, signed=True) if has_srid else b"null"  # type: ignore[arg-type]
    return b64encode(wkb), srid


def vector(text: bytes) -> bytes:
    """The vector `[1,2.5]`."""
    return b"[%b]" % b",".join(map(double, _numbers(text)))


def sparse_vector(text: bytes) -> bytes:
    """The sparse vector `{1:0.5,3:2}/5`. Connect writes a map whose keys are numbers as pairs."""
    elements, _, dimensions = text.partition(b"/")
    pairs = [element.split(b":") for element in elements.strip(b"{}").split(b",") if element]
    values = {int(index): double(float(value)) for index, value in pairs}
    written = b",".join(b"[%d,%b]" % (index, values[index]) for index in java_order(values, int))
    return b'{"dimensions":%d,"vector":[%b]}' % (int(dimensions), written)


BY_OID: dict[int, ToJson] = {
    600: point,
    601: segment,
    602: path,
    603: box,
    604: polygon,
    628: line,
    718: circle,
}
BY_NAME: dict[str, ToJson] = {
    "geometry": postgis,
    "geography": postgis,
    "vector": vector,
    "halfvec": vector,
    "sparsevec": sparse_vector,
}
