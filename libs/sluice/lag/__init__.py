"""What each stage has not processed yet, in visible records and in seconds, and what stops it."""

from sluice.lag.backlog import Backlog, backlogs
from sluice.lag.groups import StageInputs, committed_offsets, stage_inputs

__all__ = ["Backlog", "StageInputs", "backlogs", "committed_offsets", "stage_inputs"]
