"""Retry-After (RFC 9110, section 10.2.3): seconds, or a date on the server's own clock."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from sluice.connector.messages import Response


def retry_after_s(response: Response) -> float | None:
    """Seconds to wait, 0 or more, as the server asks for; None where it does not say or cannot be understood.

    A date is measured against the server's own Date where it sends one: our clocks may disagree.
    """
    said = response.headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        until = parsedate_to_datetime(said)
    except ValueError:
        return None
    if until.tzinfo is None:
        return None
    now = response.server_time or datetime.now(UTC)
    return max((until - now).total_seconds(), 0.0)
