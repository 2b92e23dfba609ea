"""Colours that the colour-blind tell apart and that differ in grey too: Okabe and Ito's, and two ramps."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.axes import Executor

INK = "#1a1a1a"
GREY = "#8c8c8c"
PALE = "#f2f2f2"

BLUE, ORANGE, SKY, GREEN = "#0072B2", "#E69F00", "#56B4E9", "#009E73"
VERMILLION, PURPLE, BLACK = "#D55E00", "#CC79A7", "#000000"


@dataclass(frozen=True, slots=True)
class Style:
    """Colour, marker and line, each of which tells a curve from the others by itself."""

    colour: str
    marker: str
    line: str | tuple[float, tuple[float, ...]]


_STYLES = (
    Style(BLACK, "x", "-"),
    Style(BLUE, "o", "-"),
    Style(SKY, "s", "--"),
    Style(VERMILLION, "^", "-."),
    Style(GREEN, "D", ":"),
    Style(PURPLE, "v", (0, (6, 2, 1, 2, 1, 2))),
    Style(ORANGE, "P", (0, (1, 1))),
)


def style_of(executor: Executor) -> Style:
    """By its place in the executors' table: a new row has a style without being given one."""
    return style_number(list(Executor).index(executor))


def style_number(number: int) -> Style:
    """One after the other, from the beginning again when there are no more."""
    return _STYLES[number % len(_STYLES)]


def lost_colour(share: float) -> str:
    """Share of updates lost, 0 to 1: white to vermillion, never too dark to write on."""
    return mixed("#ffffff", "#DE7332", min(1.0, max(0.0, share * 1.6)))


def speedup_colour(distance: float) -> str:
    """From -1 (slowest shown) over 0 (no difference, white) to 1: brown to blue."""
    return mixed("#ffffff", "#4393D0" if distance > 0 else "#CC8033", min(1.0, abs(distance)))


def mixed(start: str, end: str, share: float) -> str:
    """A colour between two, as `#rrggbb`."""
    pairs = zip(_channels(start), _channels(end), strict=True)
    return "#" + "".join(f"{round(one + (other - one) * share):02x}" for one, other in pairs)


def ink_on(colour: str) -> str:
    """Black or white, whichever has more contrast with a colour (WCAG's relative luminance)."""
    red, green, blue = ((channel / 255) ** 2.2 for channel in _channels(colour))
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else "#ffffff"


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
