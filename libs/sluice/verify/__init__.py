"""Checks that no data is lost, doubled or out of order, link by link from the source tables to the golden rows."""

from sluice.verify.report import Finding, NotDone, NotLookedAt, Report
from sluice.verify.verify import verify

__all__ = ["Finding", "NotDone", "NotLookedAt", "Report", "verify"]
