"""A session of Tryton's own client (proteus over XML-RPC), opened from what the environment says.

Runs inside Tryton's virtual environment: nothing of Sluice can be imported here.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import proteus.config  # type: ignore[import-not-found, unused-ignore]


@contextmanager
def session() -> Iterator[Any]:
    """Log in to ERP_URL as ERP_USER and become the client of every proteus model used meanwhile."""
    url = os.environ["ERP_URL"] + "/rpc/"
    with proteus.config.set_xmlrpc_session(url, os.environ["ERP_USER"], os.environ["ERP_PASSWORD"]) as config:
        yield config
