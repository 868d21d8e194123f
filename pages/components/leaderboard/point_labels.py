"""Places for the labels of points, so that they cover neither each other nor the points."""

from collections.abc import Sequence

HEIGHT = 15  # pixels: a line of text
_GAP = 8  # from a point to its label
_CHARACTER = 7.2

Box = tuple[float, float, float, float]


def offsets(
    points: Sequence[tuple[float, float]], texts: Sequence[str], width: float, height: float
) -> list[tuple[float, float]]:
    """From each point to the lower left corner of its label, in pixels; the first labels have the first choice.

    points: (right, up) in pixels from the lower left corner of a plot of `width` x `height`. Where everything is taken,
    a label goes where it covers least.
    """
    taken: list[Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in points]
    plot = (0.0, 0.0, width, height)
    chosen = []
    for (x, y), text in zip(points, texts, strict=True):
        wide = _CHARACTER * len(text) + 4
        places = [
            (side, level)
            for level in (2, -HEIGHT - 2, -HEIGHT / 2, 2 + HEIGHT, -2 - 2 * HEIGHT, 2 + 2 * HEIGHT, -2 - 3 * HEIGHT)
            for side in (_GAP, -_GAP - wide)
        ]
        boxes = [(x + right, y + up, x + right + wide, y + up + HEIGHT) for right, up in places]
        covered = [sum(_common(box, other) for other in taken) - _common(box, plot) for box in boxes]
        best = covered.index(min(covered))
        taken.append(boxes[best])
        chosen.append(places[best])
    return chosen


def _common(a: Box, b: Box) -> float:
    """The area that two boxes share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
