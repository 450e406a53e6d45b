"""`verify`: is anything lost, doubled or out of order, link by link from raw records to table rows."""

from sluice.verify.report import Finding, NotDone, Report
from sluice.verify.verify import verify

__all__ = ["Finding", "NotDone", "Report", "verify"]
