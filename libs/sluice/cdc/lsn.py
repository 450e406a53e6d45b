"""Log sequence numbers: places in Postgres' write-ahead log, an integer to us, `16/B374D848` to operators."""

from __future__ import annotations


def parse_lsn(text: str) -> int:
    """The integer of `high/low` in hexadecimal; ValueError on anything else."""
    high, slash, low = text.partition("/")
    if not slash:
        raise ValueError("an LSN reads high/low in hexadecimal digits")
    return int(high, 16) << 32 | int(low, 16)


def format_lsn(lsn: int) -> str:
    """`high/low`, as Postgres itself prints it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
