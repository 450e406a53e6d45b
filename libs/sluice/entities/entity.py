"""`Entity`: what an author subclasses to say what a golden record is."""

import re
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, create_model

from sluice.entities.contract import EntityContract, contract_of


class Entity(BaseModel):
    """A golden record's shape. A subclass is a contract; its name in topics and tables is the class's in snake_case.

    Class keywords: `name` (another name than the class's), `version` (of the contract, an integer, default 1).
    A field that an instance was not given makes no claim; one given None claims "none".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    __sluice_contract__: ClassVar[EntityContract]
    __sluice_partial__: ClassVar[type[BaseModel]]

    def __init_subclass__(cls, *, name: str | None = None, version: int = 1, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)  # the contract is read later, when pydantic knows the fields

    @classmethod
    def __pydantic_init_subclass__(cls, *, name: str | None = None, version: int = 1, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        contract = contract_of(cls, name or snake_case(cls.__name__), version)
        cls.__sluice_contract__ = contract
        optional: dict[str, Any] = {
            field: (info.rebuild_annotation(), ... if field == contract.identity else None)
            for field, info in cls.model_fields.items()
        }
        cls.__sluice_partial__ = create_model(cls.__name__, __config__=ConfigDict(extra="forbid"), **optional)

    @classmethod
    def contract(cls) -> EntityContract:
        """The contract that this class states."""
        return cls.__sluice_contract__

    @classmethod
    def claim(cls, **fields: Any) -> Self:
        """Claim only the fields given (the identity must be). For a source that knows a part of the entity.

        Raises pydantic.ValidationError as the constructor does.
        """
        checked = cls.__sluice_partial__(**fields)
        given = {field: getattr(checked, field) for field in checked.model_fields_set}
        return cls.model_construct(_fields_set=checked.model_fields_set, **given)


def snake_case(name: str) -> str:
    """`LedgerEntry` → `ledger_entry`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
