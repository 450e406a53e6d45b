"""Charts as SVG text: bars for rates, and lines that show how figures grow with the load. They have no dependency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

FONT = 'font-family="sans-serif" font-size="12"'
INK, GREY, OURS_COLOUR, PEER_COLOUR = "#222222", "#cccccc", "#b8860b", "#7b8794"
BAR_HEIGHT, BAR_GAP, LABEL_WIDTH, BARS_WIDTH = 18, 8, 150, 460
PANEL_WIDTH, PANEL_HEIGHT, MARGIN = 260, 170, 44


class Point(NamedTuple):
    """A point of a curve. `x`: the load. `values`: a figure for each panel, in the order of the panels."""

    x: float
    values: tuple[float, ...]


def short(value: float) -> str:
    """A number in at most five characters: 950, 12k, 1.5M."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def bars(title: str, values: Mapping[str, float], ours: Sequence[str]) -> str:
    """A bar for each value, in the order given. The bars of the names `ours` have another colour."""
    height = 34 + len(values) * (BAR_HEIGHT + BAR_GAP)
    width = LABEL_WIDTH + BARS_WIDTH + 90
    top = max([*values.values(), 1e-9])
    parts = [_text(8, 20, title, bold=True)]
    for number, (name, value) in enumerate(values.items()):
        y = 32 + number * (BAR_HEIGHT + BAR_GAP)
        colour = OURS_COLOUR if name in ours else PEER_COLOUR
        length = BARS_WIDTH * value / top
        parts += [
            _text(LABEL_WIDTH - 8, y + 13, name, anchor="end"),
            f'<rect x="{LABEL_WIDTH}" y="{y}" width="{length:.1f}" height="{BAR_HEIGHT}" fill="{colour}"/>',
            _text(LABEL_WIDTH + length + 6, y + 13, f"{value:,.0f}"),
        ]
    return _svg(width, height, parts)


def curves(title: str, x_label: str, panels: Sequence[str], points: Sequence[Point]) -> str:
    """One panel for each figure, over a logarithmic load. Each panel's scale starts at zero."""
    parts = [_text(8, 20, title, bold=True)]
    for number, panel in enumerate(panels):
        values = [(point.x, point.values[number]) for point in points]
        parts += _panel(MARGIN + number * (PANEL_WIDTH + MARGIN), 52, panel, x_label, values)
    width = MARGIN + len(panels) * (PANEL_WIDTH + MARGIN)
    return _svg(width, PANEL_HEIGHT + 104, parts)


def _panel(left: float, top: float, title: str, x_label: str, values: Sequence[tuple[float, float]]) -> list[str]:
    bottom = top + PANEL_HEIGHT
    highest = max([value for _, value in values] + [1e-9]) * 1.15
    places = _places([x for x, _ in values])
    at = [
        (left + 10 + place * (PANEL_WIDTH - 20), bottom - PANEL_HEIGHT * value / highest)
        for place, (_, value) in zip(places, values, strict=True)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    parts = [
        _text(left, top - 8, title),
        f'<path d="M{left} {top}V{bottom}H{left + PANEL_WIDTH}" fill="none" stroke="{GREY}"/>',
        f'<polyline points="{line}" fill="none" stroke="{OURS_COLOUR}" stroke-width="2"/>',
        _text(left + PANEL_WIDTH, bottom + 34, x_label, anchor="end"),
    ]
    for (x, y), (load, value) in zip(at, values, strict=True):
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{OURS_COLOUR}"/>',
            _text(x, y - 8, short(value), anchor="middle"),
            _text(x, bottom + 16, short(load), anchor="middle"),
        ]
    return parts


def _places(loads: Sequence[float]) -> list[float]:
    """The place of each load on a logarithmic axis, from 0 to 1."""
    logs = [math.log(max(load, 1)) for load in loads]
    low, width = min(logs), max(logs) - min(logs)
    return [(one - low) / width if width else 0.5 for one in logs]


def _text(x: float, y: float, text: str, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}"{weight}>{escape(text)}</text>'


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    background = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT}>', background, *parts, "</svg>", ""])
