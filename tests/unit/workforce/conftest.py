"""Puts the workforce example's folder on the import path, as a run of it does."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "examples" / "workforce"))
