"""`explain`: shows where every value of a golden record comes from, and which claims lost against it."""

from sluice.explain.explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
