"""Checks that no data is lost, doubled or out of order, link by link from the source tables to the golden rows."""

from sluice.verify.report import Finding, NotChecked, NotDone, Report
from sluice.verify.verify import verify

__all__ = ["Finding", "NotChecked", "NotDone", "Report", "verify"]
