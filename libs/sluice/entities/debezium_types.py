"""Types for raw models of CDC streams: Debezium writes times and dates as numbers without a unit, and JSON as a text.

`io.debezium.time.MicroTimestamp` is microseconds since 1970 of a time without a zone, read here as UTC.
`io.debezium.time.Timestamp`, of a column with up to three digits of a second, is milliseconds; `io.debezium.time.Date`
is days. pydantic alone would guess seconds or milliseconds from the size of the number.
"""

from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, JsonValue
from pydantic import Json as ParsedJson

from sluice.times import from_days, from_us


def _converter(convert: Callable[[int], Any]) -> Callable[[Any], Any]:
    """A function that converts an integer and returns any other value as it is."""

    def converted(value: Any) -> Any:
        if type(value) is not int:
            return value
        try:
            return convert(value)
        except OverflowError:
            raise ValueError("out of range") from None

    return converted


_from_microseconds = _converter(from_us)
_from_milliseconds = _converter(lambda value: from_us(value * 1_000))
_from_days = _converter(from_days)

MicroTimestamp = Annotated[datetime, BeforeValidator(_from_microseconds)]
MilliTimestamp = Annotated[datetime, BeforeValidator(_from_milliseconds)]
EpochDate = Annotated[date, BeforeValidator(_from_days)]
JsonText = ParsedJson[JsonValue]

FROM_NUMBERS = frozenset({_from_microseconds, _from_milliseconds, _from_days})
