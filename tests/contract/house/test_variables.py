"""Every variable that a stage, a command, an example or a test reads is known: an unknown one is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sluice.settings.stage import StageSettings
from sluice.settings.variables import OTHER_VARIABLES, STAGE_VARIABLES, TEST_PREFIX, known_variables
from sluice_ingress_cdc.settings import CdcSettings
from sluice_ingress_poller.settings import PollerSettings
from sluice_sink_postgres.settings import SinkSettings
from support.repository import tracked_text

STAGES = (CdcSettings, PollerSettings, SinkSettings)
OF_ALL = set(known_variables(StageSettings))


def test_the_variables_of_single_stages_are_known_to_all() -> None:
    of_stages = {name for kind in STAGES for name in known_variables(kind)} - OF_ALL
    assert {name for name in of_stages if "__" not in name} == set(STAGE_VARIABLES)


@pytest.mark.parametrize("suffix", [".py", ".yaml", ".yml", ".md", ".tpl"])
def test_every_variable_that_is_named_anywhere_is_known(suffix: str) -> None:
    known = {*(name for kind in STAGES for name in known_variables(kind)), *OTHER_VARIABLES}
    named = {
        (str(file), name)
        for file, text in tracked_text(suffix).items()
        if "tests/unit/settings" not in str(file) and file.name != Path(__file__).name
        for name in re.findall(r"\bSLUICE_[A-Z]\w*[A-Z]\b", text)
    }
    assert {
        (file, name) for file, name in named if name not in known | CONSTANTS and not name.startswith(TEST_PREFIX)
    } <= WRITTEN_WRONG


# Names in the code that look like variables.
CONSTANTS = {"SLUICE_FORM"}
# Comments about what others set, and tests that write one wrong on purpose.
WRITTEN_WRONG = {
    ("libs/sluice/settings/variables.py", "SLUICE_KAFKA_PORT"),
    ("tests/unit/settings/test_stage_settings.py", "SLUICE_KAFKA__BOOTSTRAP"),
}
