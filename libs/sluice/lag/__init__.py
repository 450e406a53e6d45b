"""Lag of the stages: the records that each stage has not processed yet, their age, and what stops the stage."""

from sluice.lag.backlog import Backlog, backlogs
from sluice.lag.groups import StageInputs, committed_offsets, stage_inputs

__all__ = ["Backlog", "StageInputs", "backlogs", "committed_offsets", "stage_inputs"]
