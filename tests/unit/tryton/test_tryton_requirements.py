"""The ERP's own requirements: pinned by hash, and from wherever the user's pip looks."""

import re

from support.tryton import EXAMPLE

LOCK = (EXAMPLE / "requirements.txt").read_text()


def test_every_package_of_the_erp_is_pinned_with_a_hash() -> None:
    blocks = re.split(r"\n(?=\S)", LOCK.strip())
    assert len(blocks) > 10
    for block in blocks:
        assert re.match(r"[a-z0-9-]+==\S+", block), block
        assert "--hash=sha256:" in block, block


def test_no_address_of_a_registry_is_written_down() -> None:
    assert "://" not in LOCK
