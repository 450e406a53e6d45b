"""What `sluice skips accept` accepts: no offset that the partition does not have yet."""

from __future__ import annotations

import pytest

from sluice.cli.skips import refuse_beyond_end
from sluice.errors import SettingsError

AT = ("raw.hr.workers", 3)


def test_a_skip_beyond_the_end_of_the_partition_is_refused_and_the_end_is_named() -> None:
    with pytest.raises(
        SettingsError, match=r"raw\.hr\.workers/3 ends at 120; nothing up to 999999 can have been skipped"
    ):
        refuse_beyond_end(AT, 999_999, 120)


@pytest.mark.parametrize("to", [0, 119, 120])
def test_a_skip_up_to_the_end_is_accepted(to: int) -> None:
    refuse_beyond_end(AT, to, 120)
