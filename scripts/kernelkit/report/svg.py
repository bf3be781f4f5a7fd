"""Charts as inline SVG: axes, marks and lines. Colours and fonts are the page's CSS classes.

All text that comes in is escaped here. A chart is WIDTH units wide, so that on a phone its text is
about as large as the page's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 420, 280
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 14, 42
SERIES = 8  # colours and shapes; further series are left out of a chart, and it says so
# Shapes of marks around 0,0, so that a series is not told by colour alone.
SHAPES = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "M-3.6,-3.6h7.2v7.2h-7.2z",
    "M0,-4.8L4.6,3.6H-4.6z",
    "M0,-5L5,0L0,5L-5,0z",
    "M0,4.8L4.6,-3.6H-4.6z",
    "M-4.6,-1.6h3v-3h3.2v3h3v3.2h-3v3h-3.2v-3h-3z",
    "M-5,-2.6h10v5.2h-10z",
    "M-2.6,-5h5.2v10h-5.2z",
)
CROSS = "M-4,-4L4,4M-4,4L4,-4"


@dataclass(frozen=True)
class Axis:
    """A range of values, `low` < `high`; a logarithmic one is above zero."""

    low: float
    high: float
    label: str
    log: bool = False
    unit: str = ""  # behind each tick

    @classmethod
    def over(cls, values: Sequence[float], label: str, *, log: bool, unit: str = "") -> Axis:
        """An axis around values, with room at both ends. Without values it is 0.1 to 10."""
        low, high = min(values, default=0.1), max(values, default=10.0)
        if log and low > 0:
            room = max((high / low) ** 0.06, 1.2)
            return cls(low / room, high * room, label, True, unit)
        room = (high - low) * 0.06 or abs(high) * 0.2 or 1.0
        return cls(low - room, high + room, label, False, unit)

    def at(self, value: float, start: float, end: float) -> float:
        """Where a value lies between two coordinates; values outside come to the ends."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, 1e-300))
        share = (value - low) / (high - low)
        return start + min(1.0, max(0.0, share)) * (end - start)

    def ticks(self) -> list[float]:
        """Round values inside the range, at most about eight."""
        return _log_ticks(self.low, self.high) if self.log else _even_ticks(self.low, self.high)


def chart(
    ident: str, title: str, description: str, x: Axis, y: Axis, body: Sequence[str]
) -> Markup:
    """A chart with grid, ticks and axis labels around `body` (parts made by this module)."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [_text(px(x, v), bottom + 15, tick(v) + x.unit, "mid") for v in x.ticks()]
    parts += [line([(px(x, v), TOP), (px(x, v), bottom)], "grid") for v in x.ticks()]
    for value in y.ticks():
        at = py(y, value)
        parts.append(line([(LEFT, at), (right, at)], "grid"))
        parts.append(_text(LEFT - 6, at + 4, tick(value) + y.unit, "end"))
    parts.append(line([(LEFT, TOP), (LEFT, bottom), (right, bottom)], "axis"))
    parts.append(_text((LEFT + right) / 2, HEIGHT - 8, x.label, "mid label"))
    middle = (TOP + bottom) / 2
    parts.append(
        Markup('<text class="mid label" transform="translate(13 {}) rotate(-90)">{}</text>').format(
            _n(middle), y.label
        )
    )
    return picture(ident, title, description, HEIGHT, [*parts, *body])


def picture(
    ident: str, title: str, description: str, height: float, parts: Sequence[str]
) -> Markup:
    """An SVG element with a name and a description for those who do not see it."""
    head = Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-labelledby="{}-t {}-d">'
        '<title id="{}-t">{}</title><desc id="{}-d">{}</desc>'
    ).format(WIDTH, _n(height), ident, ident, ident, title, ident, description)
    return head + Markup("").join(parts) + Markup("</svg>")


def px(axis: Axis, value: float) -> float:
    """The x coordinate of a value in a chart."""
    return axis.at(value, LEFT, WIDTH - RIGHT)


def py(axis: Axis, value: float) -> float:
    """The y coordinate of a value in a chart."""
    return axis.at(value, HEIGHT - BOTTOM, TOP)


def mark(x: float, y: float, series: int, title: str) -> Markup:
    """A point of a series, with a text shown under the pointer."""
    shape = SHAPES[series % SERIES]
    return Markup(
        '<path class="mark s{}" transform="translate({} {})" d="{}"><title>{}</title></path>'
    ).format(series % SERIES, _n(x), _n(y), shape, title)


def cross(x: float, y: float, title: str) -> Markup:
    """Something that failed."""
    return Markup(
        '<path class="cross" transform="translate({} {})" d="{}"><title>{}</title></path>'
    ).format(_n(x), _n(y), CROSS, title)


def line(points: Sequence[tuple[float, float]], css: str) -> Markup:
    """A line through points."""
    path = "M" + "L".join(f"{_n(x)},{_n(y)}" for x, y in points)
    return Markup('<path class="{}" d="{}"/>').format(css, path)


def bar(x: float, y: float, width: float, height: float, css: str) -> Markup:
    """A filled rectangle."""
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="2"/>').format(
        css, _n(x), _n(y), _n(max(width, 1.5)), _n(height)
    )


def words(x: float, y: float, text: str, css: str = "") -> Markup:
    """Text at a place."""
    return _text(x, y, text, css)


def swatch(series: int | None) -> Markup:
    """A mark for a legend; None: the reference's dashed line."""
    if series is None:
        inner = line([(0, 8), (22, 8)], "reference")
    else:
        inner = line([(0, 8), (22, 8)], f"line s{series % SERIES}") + Markup(
            '<path class="mark s{}" transform="translate(11 8)" d="{}"/>'
        ).format(series % SERIES, SHAPES[series % SERIES])
    return Markup('<svg class="swatch" viewBox="0 0 22 16" aria-hidden="true">{}</svg>').format(
        inner
    )


def tick(value: float) -> str:
    """A short number: 0.05, 20, 5k, 2M."""
    for size, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if suffix == 'k' else size):g}{suffix}"
    return f"{value:.6g}" if value == 0 or abs(value) >= 1e-4 else f"{value:.0e}"


def _text(x: float, y: float, text: str, css: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(
        css, _n(x), _n(y), escape(text)
    )


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [s * 10.0**e for e in range(first, last + 1) for s in steps]
        found = [v for v in found if low <= v <= high]
        if len(found) <= 7:
            break
    else:
        found = found[:: math.ceil(len(found) / 7)]
    return found if len(found) > 1 else _even_ticks(low, high)


def _even_ticks(low: float, high: float) -> list[float]:
    span = high - low
    raw = span / 5
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(s * size for s in (1, 2, 5, 10) if s * size >= raw)
    first = math.ceil(low / step)
    count = math.floor(high / step) - first + 1
    return [round((first + i) * step, 12) for i in range(count)]
