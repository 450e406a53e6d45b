"""A connector: one source system, how to be let in, and which streams it has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_validator

from sluice.connector.auth import Auth, NoAuth
from sluice.connector.fetch import Fetcher
from sluice.connector.stream import Stream
from sluice.connector.transport import Limits
from sluice.errors import SettingsError


class ConnectorSettings(BaseModel):
    """What `sources.<source>.settings` holds; an author inherits it and adds fields, secrets as `SecretStr`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: str

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an address begins with http:// or https:// and names a host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("an address holds no user, password, query or fragment")
        return value.rstrip("/")


S = TypeVar("S", bound=ConnectorSettings)


def _problems(source: str, error: ValidationError, unknown: Collection[str] = ()) -> list[str]:
    """What is wrong with the settings of `source`, by name and never with a value; of `unknown` ones, their names."""
    return [
        f"sources.{source}.settings.{'.'.join(map(str, e['loc']))}: {e['msg']}"
        for e in error.errors(include_input=False, include_url=False, include_context=False)
        if e["type"] == "extra_forbidden" or not e["loc"] or e["loc"][0] not in unknown
    ]


class Connector(Generic[S]):
    """An author's source.

    `streams`: immutable stream names and their classes; a name is part of topics and positions, a class is not.

    ```python
    class Workday(Connector[WorkdaySettings]):
        streams = {"workers": Workers}

        def auth(self) -> Auth:
            return OAuth2ClientCredentials("/oauth/token", self.settings.client_id, self.settings.client_secret)
    ```
    """

    streams: ClassVar[Mapping[str, type[Stream[Any]]]] = {}
    limits: ClassVar[Limits] = Limits()
    settings_type: ClassVar[type[ConnectorSettings]] = ConnectorSettings

    def __init__(self, source: str, settings: Mapping[str, Any]) -> None:
        """`settings` with its secrets revealed. Raises SettingsError, which names fields and never their values."""
        self.source = source
        try:
            self.settings: S = self.settings_type.model_validate(settings)  # type: ignore[assignment]
        except ValidationError as error:
            raise SettingsError("; ".join(_problems(source, error))) from None

    @classmethod
    def check(cls, source: str, settings: Mapping[str, Any], streams: Collection[str]) -> None:
        """Raises SettingsError where `settings` or the names of `streams` are wrong, before anything is asked.

        A setting that is None stands for a secret that cannot be revealed here: it is known by its name alone.
        """
        unknown = {name for name, value in settings.items() if value is None}
        problems = []
        try:
            cls.settings_type.model_validate(settings)
        except ValidationError as error:
            problems = _problems(source, error, unknown)
        known = ", ".join(cls.streams) or "none"
        problems += [
            f"sources.{source}.streams.{n}: the connector has {known}" for n in streams if n not in cls.streams
        ]
        if problems:
            raise SettingsError("; ".join(problems))

    @cached_property
    def _auth(self) -> Auth:
        return self.auth()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            if get_origin(base) is Connector and isinstance(get_args(base)[0], type):
                cls.settings_type = get_args(base)[0]

    def auth(self) -> Auth:
        """How requests are signed; asked once."""
        return NoAuth()

    def stream(self, name: str) -> Stream[Any]:
        """The stream of this name; raises SettingsError."""
        try:
            return self.streams[name](self)
        except KeyError:
            known = ", ".join(self.streams) or "none"
            raise SettingsError(f"sources.{self.source}.streams.{name}: the connector has {known}") from None

    def fetcher(self) -> Fetcher:
        """What sends this connector's requests."""
        return Fetcher(self.source, self.settings.base_url, self._auth, self.limits)

    def secrets(self) -> frozenset[str]:
        """The texts that must not be stored or logged: secret settings, and what is sent in their place now."""
        values = (getattr(self.settings, name) for name in type(self.settings).model_fields)
        return self._auth.secrets() | {v.get_secret_value() for v in values if isinstance(v, SecretStr)}
