"""Values and markers for the fields of entities: money, JSON, open enums, identity, unit, scale.

Markers are written in `Annotated[...]`; `sluice.entities.contract` reads them once, when the entity's class is created.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, NoReturn, Self
from unicodedata import normalize

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue
from pydantic_core import PydanticCustomError

from sluice.errors import SettingsError

# The limit for a JSON value in a raw record. pydantic's own limit is 255 levels, including the models around the value.
RAW_JSON_LEVELS_MAX = 200
TOO_DEEP = "nested_too_deeply"


def _with_doubles(value: Any, level: int = 0) -> Any:
    """Decimals become doubles: raw records are read with decimals, but the numbers of a JSON value are doubles.

    Raises PydanticCustomError for more than `RAW_JSON_LEVELS_MAX` levels: pydantic would call such a value no JSON.
    """
    if level > RAW_JSON_LEVELS_MAX:
        raise PydanticCustomError(TOO_DEEP, f"nested more than {RAW_JSON_LEVELS_MAX} deep")
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: _with_doubles(inside, level + 1) for name, inside in value.items()}
    if isinstance(value, list):
        return [_with_doubles(inside, level + 1) for inside in value]
    return value


# Without the lambda pydantic would pass its ValidationInfo as `level`.
Json = Annotated[JsonValue, BeforeValidator(lambda value: _with_doubles(value))]
"""Any JSON value. In contributions and canonical records it is its canonical text (RFC 8785), in tables `jsonb`."""

DECIMAL_PRECISION = 38
DECIMAL_SCALE = 9
MONEY_SCALE = 4


class UsedUnclaimed(TypeError):
    """Code used UNCLAIMED as if it were a value. The message quotes nothing of a record."""


def _no_value(is_no: str) -> UsedUnclaimed:
    return UsedUnclaimed(
        f"UNCLAIMED is {is_no}, because it marks a field that a mapping leaves out; "
        "write `if x is UNCLAIMED` before the code uses x"
    )


class Unclaimed:
    """The class of UNCLAIMED. Its text and its truth would become claims without notice, so it has neither."""

    def __repr__(self) -> str:
        return "UNCLAIMED"

    def __reduce__(self) -> str:
        """The name of the one instance, which is also its copy."""
        return "UNCLAIMED"

    def __str__(self) -> str:
        raise _no_value("not a text")

    def __format__(self, specification: str) -> str:
        raise _no_value("not a text")

    def __bool__(self) -> bool:
        raise _no_value("neither true nor false")

    def _refuse(self, other: object) -> NoReturn:
        raise _no_value("not a value that can be ordered or computed with")

    __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse


UNCLAIMED: Any = Unclaimed()
"""The default of a field that a mapping may leave out. A mapping that gives this value makes no claim of the field.

Typed `Any`, so that type checkers accept it for a field of any type. It can be tested (`x is UNCLAIMED`). Each other
use of it as a value raises UsedUnclaimed.
"""


_SLOTS = vars(BaseModel)
_set_dict, _set_given = _SLOTS["__dict__"].__set__, _SLOTS["__pydantic_fields_set__"].__set__
_set_extra, _set_private = _SLOTS["__pydantic_extra__"].__set__, _SLOTS["__pydantic_private__"].__set__


def set_members(model: BaseModel, members: dict[str, Any], given: set[str]) -> None:
    """Set the members of a new model as pydantic does after its checks, for a model without extra and private members.

    `given`: the names of the members that were given. The model keeps this set.
    """
    _set_dict(model, members)
    _set_given(model, given)
    _set_extra(model, None)
    _set_private(model, None)


class Money(BaseModel):
    """An amount in one currency. `currency` is the three capital letters of ISO 4217."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount: Decimal
    currency: str

    def __init__(self, amount: Decimal | int | str, currency: str) -> None:
        """`amount` must not be a float, because a float does not store cents exactly."""
        # pydantic takes 1.4 µs to check what these conditions check in 0.6, and keeps both objects.
        if type(amount) is Decimal and amount.is_finite() and type(currency) is str and type(self) is Money:
            set_members(self, {"amount": amount, "currency": currency}, {"amount", "currency"})
        else:
            super().__init__(amount=amount, currency=currency)


class OpenEnum(StrEnum):
    """An enum that reads an unknown text as its member UNKNOWN. A class without this member raises SettingsError.

    A source may add a value at any time. With a plain StrEnum each such record is a dead letter.
    """

    def __init_subclass__(cls) -> None:
        if "UNKNOWN" not in cls.__members__:
            raise SettingsError(
                f"{cls.__module__}.{cls.__qualname__}: an OpenEnum reads values that it does not know as its member "
                'UNKNOWN, and this one has none. Next: add UNKNOWN = "unknown", or inherit StrEnum'
            )

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls.__members__["UNKNOWN"] if isinstance(value, str) else None


def trimmed(value: str) -> str:
    return normalize("NFC", value.strip())


@dataclass(frozen=True)
class Identity:
    """Marks the one field whose value, normalised, is the entity's id.

    `normalise` must be pure: another result for the same value is another entity. By default it strips white space and
    composes Unicode (NFC).
    """

    normalise: Callable[[str], str] = trimmed


@dataclass(frozen=True)
class Unit:
    """The unit of a number (`Unit("m")`). It is part of the contract; values are not converted."""

    symbol: str


@dataclass(frozen=True)
class Scale:
    """Digits of a decimal or a money amount: `precision` in all, `scale` of them after the point."""

    precision: int
    scale: int

    def __post_init__(self) -> None:
        if not 0 <= self.scale <= self.precision <= DECIMAL_PRECISION or self.precision == 0:
            raise ValueError(
                f"Scale({self.precision}, {self.scale}): needs 0 <= scale <= precision, 1 <= precision <= 38"
            )
