"""What each stage has not done yet: in records that a reader can see, and in seconds."""

from sluice.lag.backlog import Backlog, backlogs
from sluice.lag.groups import StageInputs, committed_offsets, stage_inputs

__all__ = ["Backlog", "StageInputs", "backlogs", "committed_offsets", "stage_inputs"]
