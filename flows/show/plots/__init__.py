"""Charts as SVG to stand in a page and as PNG: this package alone imports matplotlib, and only to draw.

Plain `Figure` objects, because pyplot is state of the whole process; settings of the user's own are left aside, so
that the same findings give the same bytes everywhere.
"""

from __future__ import annotations

import html
import io
import logging
import os
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from flows.show.plots.bars import HeatMap, StageChart, TimeChart
from flows.show.plots.lines import LineChart, ScalingChart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Chart = ScalingChart | HeatMap | TimeChart | LineChart | StageChart

_DPI = 100
_COLOURS = 96
_TITLE_LETTERS_PER_INCH = 9
_SETTINGS = {
    # Text stays text: it can be found, copied and read aloud. DejaVu comes with matplotlib, and as few fonts are
    # wider, what fits here fits with another font as well.
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],
    # A dollar in a label is a dollar.
    "text.parse_math": False,
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "figure.titlesize": 11.0,
    "text.color": "#1a1a1a",
    "axes.labelcolor": "#1a1a1a",
    "axes.edgecolor": "#555555",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.7,
    "hatch.color": "#777777",
    # Dates with no more digits than tell them apart.
    "date.converter": "concise",
}
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)


def why_no_plots() -> str | None:
    """A sentence if matplotlib cannot be imported here, else None."""
    try:
        _load()
    except ImportError:
        return (
            "The plots are left out, because matplotlib is not installed here: `pip install -e '.[plots]'`. "
            "The tables have the same numbers."
        )
    return None


def _load() -> None:
    """Import matplotlib from another folder than the current one, whose `matplotlibrc` would be read first of all."""
    # It warns of a home in which it cannot keep anything.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    here = os.open(".", os.O_PATH)
    try:
        os.chdir("/")
        import matplotlib.figure  # noqa: F401
    finally:
        # A user may stand in a folder that is closed to them, as after `su`.
        with suppress(PermissionError):
            os.fchdir(here)
        os.close(here)


def figure(chart: Chart) -> Figure:
    """A chart, drawn. Raises ImportError without matplotlib (see `why_no_plots`)."""
    _load()
    from matplotlib.figure import Figure

    with _settings(chart.title):
        drawn = Figure(figsize=chart.size, layout="constrained")
        chart.draw(drawn)
        # A phone shows the left of a wide plot first.
        place = {"x": 0.01, "ha": "left"} if isinstance(chart, LineChart | StageChart) else {}
        letters = int(drawn.get_figwidth() * _TITLE_LETTERS_PER_INCH)
        title = textwrap.fill(chart.title, letters, max_lines=2, placeholder=" …")
        drawn.suptitle(title, fontweight="bold", **place)
        # Work out the layout now: a figure whose layout is still open is drawn twice when it is saved.
        if engine := drawn.get_layout_engine():
            engine.execute(drawn)
            drawn.set_layout_engine(None)
    drawn.set_label(chart.title)
    return drawn


def svg(figure: Figure) -> str:
    """An `svg` element, the same bytes for the same chart: no prolog, no date, no drawn ids, no address but xmlns."""
    buffer = io.StringIO()
    title = str(figure.get_label())
    with _settings(title):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    # The metadata have addresses of their vocabulary, and nothing about the plot.
    text = _METADATA.sub("", text[text.index("<svg") :]).rstrip()
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)


def png(figure: Figure) -> bytes:
    """A PNG file, the same bytes for the same chart."""
    # Pillow comes with matplotlib.
    from PIL import Image

    buffer = io.BytesIO()
    with _settings(str(figure.get_label())):
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    # A palette makes the file a third of the size: an artifact has a score of plots, and is sent whole.
    smaller = io.BytesIO()
    with Image.open(buffer) as image:
        image.convert("RGB").quantize(_COLOURS).save(smaller, format="png", optimize=True)
    return smaller.getvalue()


@contextmanager
def _settings(title: str) -> Iterator[None]:
    """The defaults of matplotlib and our settings; ids are hashed with the title, so plots of a page share none."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        # The stub lists the names of settings, and they differ between versions.
        ours: Any = _SETTINGS | {"svg.hashsalt": title}
        mpl.rcParams.update(ours)
        yield
