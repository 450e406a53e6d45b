"""A connector: one source system, its authentication and its streams."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_validator

from sluice.connector.auth import Auth, NoAuth
from sluice.connector.fetch import Fetcher
from sluice.connector.members import require_members
from sluice.connector.stream import Stream
from sluice.errors import SettingsError, suggestion
from sluice.http import Limits, url_problem


class ConnectorSettings(BaseModel):
    """The settings of a source, from `sources.<source>.settings` of the pipeline file.

    An author inherits this class and adds fields; secrets are `SecretStr`. The pipeline file names the place of a
    secret instead of its value: `{env: NAME}` or `{file: path}`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: str

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        if problem := url_problem(value):
            raise ValueError(f"an address that {problem}")
        parts = urlsplit(value)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("an address must not contain a user, password, query or fragment")
        return value.rstrip("/")


S = TypeVar("S", bound=ConnectorSettings)


class Mistake(NamedTuple):
    """A mistake in the pipeline file about a source. `location`: the path of the wrong member below the source."""

    location: tuple[str, ...]
    why: str


def _mistakes(kind: type[ConnectorSettings], error: ValidationError, unset: Collection[str] = ()) -> Iterator[Mistake]:
    """The mistakes in `error`, which pydantic raised for settings of the class `kind`.

    A mistake names settings, but never quotes a value. The values of the settings in `unset` are not checked.
    """
    for one in error.errors(include_input=False, include_url=False, include_context=False):
        location = tuple(map(str, one["loc"]))
        if one["type"] == "extra_forbidden":
            why = f"no such setting ({suggestion(location[-1], kind.model_fields)})"
        elif one["type"] == "missing":
            why = "it is required, and missing"
        elif location and location[0] in unset:
            continue
        else:
            why = one["msg"].removeprefix("Value error, ")
        yield Mistake(("settings", *location), why)


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_is_secret, get_args(annotation)))


class Connector(Generic[S]):
    """A source system. An author inherits `Connector[TheSettings]`; then `self.settings` has the type `TheSettings`.

    `streams`: the class of each stream, by the stream's name. Never change a name, because it is part of topic names. A
    class may change.
    `limits`: the limits of one exchange: `Limits(body_bytes_max=…, deadline_s=…)`.

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
        """`settings`: the settings with the values of their secrets. Raises SettingsError if they are wrong; its text
        names settings, but never quotes their values."""
        self.source = source
        try:
            self.settings: S = self.settings_type.model_validate(settings)  # type: ignore[assignment]
        except ValidationError as error:
            wrong = [f"sources.{source}.{'.'.join(m.location)}: {m.why}" for m in _mistakes(self.settings_type, error)]
            raise SettingsError("; ".join(wrong)) from None

    @classmethod
    def mistakes(
        cls, settings: Mapping[str, Any], plain: Collection[str], streams: Collection[str]
    ) -> Iterator[Mistake]:
        """The mistakes in `settings` and in the names of `streams`, found without a request to the source.

        `plain`: the settings whose value is written in the pipeline file. A setting with the value None is a secret
        that cannot be read on this machine; only its name is checked.
        """
        unset = {name for name, value in settings.items() if value is None}
        for name, field in cls.settings_type.model_fields.items():
            if name in plain and _is_secret(field.annotation):
                yield Mistake(
                    ("settings", name), "a secret is written in the file; name its place: {env: NAME} or {file: path}"
                )
        try:
            cls.settings_type.model_validate(settings)
        except ValidationError as error:
            yield from _mistakes(cls.settings_type, error, unset)
        for name in streams:
            if name not in cls.streams:
                yield Mistake(("streams", name), f"the connector has no such stream ({suggestion(name, cls.streams)})")
            elif not (isinstance(cls.streams[name], type) and issubclass(cls.streams[name], Stream)):
                yield Mistake(("streams", name), f"{cls.__name__}.streams[{name!r}] is not a class of a stream")
        if callable(vars(cls).get("login")) and cls.auth is Connector.auth:
            yield Mistake(("poll",), f"{cls.__name__} has a method login, which is never called. Next: name it auth")

    @cached_property
    def _auth(self) -> Auth:
        auth = self.auth()
        if isinstance(auth, type) or any(not hasattr(auth, one) for one in ("headers", "refused", "forget", "secrets")):
            what = f"the class {auth.__name__}" if isinstance(auth, type) else type(auth).__name__
            raise SettingsError(
                f"{type(self).__qualname__}.auth returns {what}, which is no login. Next: return "
                "BasicAuth(…), or another one of sluice.connector"
            )
        return auth

    @property
    def login(self) -> str:
        """The name of the class that adds the credentials to the connector's requests."""
        return type(self._auth).__name__

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            if get_origin(base) is Connector and isinstance(get_args(base)[0], type):
                cls.settings_type = get_args(base)[0]
        require_members(cls)

    def auth(self) -> Auth:
        """The credentials of the requests: `BasicAuth(…)`, `ApiKeyAuth(…)`, `OAuth2ClientCredentials(…)` or a
        subclass of `SessionAuth`. An author overrides this method; it is called once.
        """
        return NoAuth()

    def stream(self, name: str) -> Stream[Any]:
        """The stream `name`. Raises SettingsError if there is no such stream, or its declaration is incomplete."""
        if name not in self.streams:
            known = ", ".join(self.streams) or "none"
            raise SettingsError(
                f"sources.{self.source}.streams.{name}: the connector has no such stream (there are {known})"
            )
        self.streams[name].require_declared()
        return self.streams[name](self)

    def fetcher(self) -> Fetcher:
        """A new HTTP client for this connector's requests, with its credentials and limits."""
        return Fetcher(self.source, self.settings.base_url, self._auth, self.limits)

    def secrets(self) -> frozenset[str]:
        """The texts that must not be stored or logged: the secret settings, and the credentials of the last logins."""
        values = (getattr(self.settings, name) for name in type(self.settings).model_fields)
        return self._auth.secrets() | {v.get_secret_value() for v in values if isinstance(v, SecretStr)}
