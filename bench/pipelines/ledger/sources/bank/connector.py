"""The bank's API. No benchmark calls it: the harness writes the raw records."""

from sluice.connector import Connector, ConnectorSettings, RestStream

from .mapping import BankEntry


class Entries(RestStream[BankEntry]):
    path, records, key = "/entries", "data", "id"


class Bank(Connector[ConnectorSettings]):
    streams = {"entries": Entries}  # noqa: RUF012 - a declaration
