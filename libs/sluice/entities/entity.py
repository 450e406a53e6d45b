"""`Entity`: the base class of an author's golden records."""

import re
import sys
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, model_validator

from sluice.entities.contract import EntityContract, contract_of
from sluice.entities.declaration import remember
from sluice.entities.entity_init import entity_init
from sluice.entities.values import UNCLAIMED


class Entity(BaseModel):
    """A subclass states a contract: the fields of a golden record. Topics and tables have its name in snake_case.

    Class keywords: `name` replaces the class's name; `version` is the contract's, an integer, 1 by default.
    An instance claims every field that its creator gives; None claims that the field has no value. A field with the
    default `UNCLAIMED` may be left out. Every other field must be given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    __sluice_contract__: ClassVar[EntityContract]

    def __init_subclass__(cls, *, name: str | None = None, version: int = 1, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)  # the contract is read later, when pydantic knows the fields

    @classmethod
    def __pydantic_init_subclass__(cls, *, name: str | None = None, version: int = 1, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.__sluice_contract__ = contract_of(cls, snake_case(cls.__name__) if name is None else name, version)
        if getattr(cls.__init__, "__pydantic_base_init__", False):  # not a constructor that an author wrote
            cls.__init__ = entity_init(cls, Entity.model_config)  # type: ignore[method-assign]
        if cls.__module__ in sys.modules:
            remember(vars(sys.modules[cls.__module__]), cls)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_unclaimed(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {field: value for field, value in given.items() if value is not UNCLAIMED}

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Self:
        """An instance whose values are not validated. An unknown name counts as given, so that the mapping refuses the
        instance; pydantic's method ignores the name."""
        entity = super().model_construct(None if _fields_set is None else set(_fields_set), **values)
        entity.model_fields_set.update(values.keys() - cls.model_fields.keys())
        return entity

    @classmethod
    def contract(cls) -> EntityContract:
        """The contract that this class states."""
        return cls.__sluice_contract__


def snake_case(name: str) -> str:
    """`LedgerEntry` → `ledger_entry`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
