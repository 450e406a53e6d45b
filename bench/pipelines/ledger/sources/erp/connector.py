"""The ERP's API. No benchmark calls it: the harness writes the raw records."""

from sluice.connector import Connector, ConnectorSettings, RestStream

from .mapping import ErpEntry


class Entries(RestStream[ErpEntry]):
    path, records, key = "/entries", "data", "id"


class Erp(Connector[ConnectorSettings]):
    streams = {"entries": Entries}  # noqa: RUF012 - a declaration
