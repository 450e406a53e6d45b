"""One breakage: a change of the code that breaks a promise, and the test that must notice it."""

from __future__ import annotations

from typing import NamedTuple


class Breakage(NamedTuple):
    """A change of the code that breaks `promise`: in `file`, the text `was`, which must occur exactly once, becomes
    `becomes`. `test`: the pytest node id of the test that must then fail."""

    promise: str
    file: str
    was: str
    becomes: str
    test: str

    def mentions(self, word: str) -> bool:
        """Whether the promise, the file or the test contains `word`."""
        return any(word in text for text in (self.promise, self.file, self.test))
