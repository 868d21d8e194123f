"""The picture on the first page: neurons of two networks, matched by colour, become one network."""

from __future__ import annotations

from collections.abc import Sequence

from .theme import BLUE, FAINT, GREEN, INK, MUTED, ORANGE, PURPLE

__all__ = ["PICTURE_TEXT", "fusion_picture"]

PICTURE_TEXT = "Two small networks with matching neurons in different places are merged into one network"

_ROWS = (BLUE, ORANGE, GREEN, PURPLE)
_OTHER = (GREEN, BLUE, PURPLE, ORANGE)


def fusion_picture() -> str:
    """An SVG of 460 x 262; PICTURE_TEXT says what it shows."""
    parts = [
        '<svg viewBox="0 0 460 262" width="460" height="262" xmlns="http://www.w3.org/2000/svg" '
        'font-family="sans-serif">',
        _network(20, 12, _ROWS, square=False),
        _network(20, 134, _OTHER, square=True),
        f'<path d="M196 66 C 236 66 240 122 268 124" fill="none" stroke="{FAINT}" stroke-width="2.5"/>',
        f'<path d="M196 188 C 236 188 240 126 268 124" fill="none" stroke="{FAINT}" stroke-width="2.5"/>',
        f'<path d="M262 118 L272 124 L262 130" fill="none" stroke="{MUTED}" stroke-width="2.5"/>',
        _network(286, 74, _ROWS, square=None),
        _label(96, 257, "parents"),
        _label(362, 200, "fused"),
        "</svg>",
    ]
    return "".join(parts)


def _network(x: int, y: int, colours: Sequence[str], square: bool | None) -> str:
    """Three inputs, four coloured neurons, two outputs. square: the neurons' shape; None draws both, overlaid."""
    inputs = [(x + 8, y + 18 + 32 * i) for i in range(3)]
    hidden = [(x + 80, y + 5 + 29 * i) for i in range(4)]
    outputs = [(x + 152, y + 33 + 34 * i) for i in range(2)]
    lines = [
        f'<line x1="{a}" y1="{b}" x2="{c}" y2="{d}" stroke="#DCE2E9" stroke-width="1.3"/>'
        for left, right in ((inputs, hidden), (hidden, outputs)) for a, b in left for c, d in right
    ]
    small = [f'<circle cx="{a}" cy="{b}" r="5.5" fill="white" stroke="{MUTED}" stroke-width="1.5"/>'
             for a, b in inputs + outputs]
    marks = []
    for (a, b), colour in zip(hidden, colours, strict=True):
        if square is not False:
            marks.append(f'<rect x="{a - 8.5}" y="{b - 8.5}" width="17" height="17" rx="2" fill="{colour}"/>')
        if square is not True:
            edge = ' stroke="white" stroke-width="1.6"' if square is None else ""
            marks.append(f'<circle cx="{a}" cy="{b}" r="{7 if square is None else 9}" fill="{colour}"{edge}/>')
    return "".join(lines + small + marks)


def _label(x: int, y: int, text: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="middle" font-size="13" fill="{INK}" opacity=".6">{text}</text>'
