"""Figures of a study as SVG: box plots of one axis by another, and learning curves.

Colours are those of Okabe and Ito (2008), which people with any colour vision tell apart; shapes differ too,
for print in grey. Text stays text. Ink and paper are variables of CSS, so that a page may turn a figure dark;
a viewer that knows no variables takes the colours behind them. The same scores give the same bytes.
"""

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#7f7f7f", "#b8a900")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
INK, FAINT, PAPER = "#1d2329", "#d9dde2", "#ffffff"
VARIABLES = {INK: "--ink", FAINT: "--line", PAPER: "--paper", COLOURS[0]: "--blue"}
WIDTH = 5.6
"""Inches. Narrow, as figures are read on phones, and two stand side by side on a screen."""
LONGEST_LABEL = 24
"""Characters; names may be whole paths, and the tables have them in full."""
FEWEST_FOR_A_BOX = 5
"""Of fewer points a box would show more than is known."""
UNWRITABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML leaves out; file names may have it."""
SVG = "http://www.w3.org/2000/svg"
Curves = Sequence[Sequence[float]]
"""Validation loss of every epoch, of every run of one setting."""


@dataclass(frozen=True)
class Drawing:
    """A finished figure."""

    name: str
    """Of its file, without ending."""
    title: str
    description: str
    """What it shows, for who cannot see it."""
    svg: str


def box_plot(
    name: str,
    title: str,
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    axes: tuple[str, str | None],
    label: str,
    warning: str = "",
) -> Drawing:
    """Draw a box for each group and each of its parts, with a dot for each value.

    Args:
        name: of the file.
        title: of the figure.
        groups: the values of each part, by group and part.
        axes: what groups and parts are called; without a second, there is one part.
        label: what the values are.
        warning: printed across the top, because figures leave the page they were made for.
    """
    from matplotlib.ticker import MaxNLocator

    parts = list(dict.fromkeys(part for group in groups.values() for part in group))
    height = 1.0 + len(groups) * (0.16 + 0.17 * len(parts)) + 0.24 * (axes[1] is not None)
    with _figure(height) as figure:
        plot = figure.add_subplot()
        for at, group in enumerate(groups.values()):
            if at:
                plot.axhline(at - 0.5, color=FAINT, linewidth=0.8)
            for index, part in enumerate(parts):
                place = at + 0.8 * ((index + 0.5) / len(parts) - 0.5)
                _box(plot, place, 0.8 / len(parts), group.get(part, ()), index)
        plot.set_yticks(range(len(groups)), _labels([*groups]))
        plot.set_ylim(len(groups) - 0.5, -0.5)
        plot.tick_params(axis="y", length=0)
        plot.xaxis.set_major_locator(MaxNLocator(6))
        plot.set_xlabel(_short(label, 60))
        if axes[1] is not None:
            handles = [_handle(index) for index in range(len(parts))]
            _legend(figure, handles, parts, axes[1])
        _warn(plot, warning)
        svg = _svg(figure, name, title, description := _medians(groups, axes, label))
    return Drawing(name, title, description, svg)


def learning_curves(
    name: str, title: str, curves: Mapping[str, Curves], label: str, warning: str = ""
) -> Drawing:
    """Draw each setting's mean over its runs with a band of one standard deviation, and each run thinly.

    Runs stop at different epochs. Means end where the first run does: behind it they would jump, and only the
    runs that still got better would be left in them.
    """
    from matplotlib.ticker import MaxNLocator

    with _figure(3.2 + 0.2 * len(curves)) as figure:
        plot = figure.add_subplot()
        handles = []
        for index, runs in enumerate(curves.values()):
            colour = COLOURS[index % len(COLOURS)]
            for run in runs:
                plot.plot(range(1, len(run) + 1), run, color=colour, linewidth=0.6, alpha=0.35)
            together = np.array([run[: min(map(len, runs))] for run in runs])
            epochs, mean = np.arange(1, together.shape[1] + 1), together.mean(0)
            if len(runs) > 1:
                sd = together.std(0, ddof=1)
                plot.fill_between(epochs, mean - sd, mean + sd, color=colour, alpha=0.2, linewidth=0)
            marker: Any = {"marker": MARKERS[index % len(MARKERS)], "markersize": 4, "markevery": 0.15}
            handles += plot.plot(epochs, mean, color=colour, linewidth=1.8, **marker)
        plot.set_xlabel("epoch")
        plot.set_ylabel(label)
        plot.xaxis.set_major_locator(MaxNLocator(integer=True))
        plot.grid(axis="y", color=FAINT, linewidth=0.6)
        _legend(figure, handles, list(curves), None)
        lowest = [f"{setting}: lowest {min(map(min, runs)):.3f}" for setting, runs in curves.items()]
        description = f"{label} by epoch. {'; '.join(lowest)}."
        _warn(plot, warning)
        svg = _svg(figure, name, title, description)
    return Drawing(name, title, description, svg)


@contextmanager
def _figure(height: float) -> Iterator["Figure"]:
    """Give an empty figure, in the house's look; no state of pyplot is read or changed."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    look: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "otoscribe",
        "text.parse_math": False,  # names may hold dollars
        "font.family": "DejaVu Sans",  # matplotlib's own: it decides how much room text gets
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.edgecolor": FAINT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.grid": True,
        "axes.grid.axis": "x",
        "axes.axisbelow": True,
        "axes.formatter.useoffset": False,
        "grid.color": FAINT,
        "grid.linewidth": 0.6,
        "figure.facecolor": PAPER,
        "axes.facecolor": "none",
        "legend.frameon": False,
    }
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(look)
        # The reader's fonts will have the letters that matplotlib's lack.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield Figure(figsize=(WIDTH, height), layout="constrained")


def _box(plot: "Axes", place: float, width: float, values: Sequence[float], index: int) -> None:
    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
    if len(values) >= FEWEST_FOR_A_BOX:
        (box,) = plot.boxplot(
            [values],
            positions=[place],
            widths=[0.8 * width],
            orientation="horizontal",
            manage_ticks=False,
            showfliers=False,  # every value has a dot
            patch_artist=True,
            boxprops={"facecolor": f"{colour}38", "edgecolor": colour, "linewidth": 1},
            whiskerprops={"color": colour, "linewidth": 1},
            capprops={"color": colour, "linewidth": 1},
            medianprops={"color": INK, "linewidth": 1.6},
        )["boxes"]
        box.set_zorder(2)
    # Beside each other by the golden ratio: even, and the same every time.
    spread = (np.arange(len(values)) * 0.618034 % 1 - 0.5) * 0.5 * width
    plot.scatter(values, place + spread, s=7, marker=marker, color=colour, alpha=0.75, linewidths=0, zorder=3)


def _warn(plot: "Axes", warning: str) -> None:
    plot.set_title(warning, loc="right", color="#d55e00", fontweight="bold", fontsize=9)


def _handle(index: int) -> Any:
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], color=COLOURS[index % len(COLOURS)], marker=MARKERS[index % len(MARKERS)], markersize=6,
        linestyle="",
    )  # fmt: skip


def _legend(figure: "Figure", handles: Sequence[Any], parts: Sequence[str], axis: str | None) -> None:
    longest, size = (LONGEST_LABEL, 9) if axis is not None else (72, 8)
    labels = _labels(parts, longest)
    columns = max(1, min(len(parts), 64 // (max(map(len, labels)) + 6)))
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=columns,
        fontsize=size,
        title=None if axis is None else _short(axis),
        title_fontproperties={"weight": "bold", "size": 9},
        alignment="left",
        handletextpad=0.4,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


def legible(text: str) -> str:
    """Return text as a page or figure may hold it: without control characters and halves of characters."""
    return UNWRITABLE.sub("\ufffd", text)


def _labels(texts: Sequence[str], longest: int = LONGEST_LABEL) -> list[str]:
    """Return short texts: those that would look alike without their ends lose their middles instead."""
    short = [_short(text, longest) for text in texts]
    tails = [longest // 2 if short.count(label) > 1 else 0 for label in short]
    return [_short(text, longest, tail) for text, tail in zip(texts, tails, strict=True)]


def _short(text: str, longest: int = LONGEST_LABEL, tail: int = 0) -> str:
    text = " ".join(legible(text).split())
    return text if len(text) <= longest else f"{text[: longest - 1 - tail]}…{text[len(text) - tail :]}"


def _medians(
    groups: Mapping[str, Mapping[str, Sequence[float]]], axes: tuple[str, str | None], label: str
) -> str:
    places = [
        f"{group}{'' if axes[1] is None else f', {part}'}: {np.median(values):.4g} of {len(values)}"
        for group, parts in groups.items()
        for part, values in parts.items()
    ]
    what = axes[0] if axes[1] is None else f"{axes[0]} and {axes[1]}"
    return f"{label} by {what}; medians: {'; '.join(places)}."


def _svg(figure: "Figure", name: str, title: str, description: str) -> str:
    """Return the figure as an SVG with title and description, which may stand in a page beside others."""
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(written.getvalue())
    for head in [child for tag in ("metadata", "defs") for child in root.findall(f"{{{SVG}}}{tag}")]:
        if (
            head.find(f"{{{SVG}}}clipPath") is None
        ):  # inside a page, its style would be that of the whole page
            root.remove(head)
    for element in root.iter():
        _adapt(element.attrib, name)
    for place, (tag, text) in enumerate([("title", title), ("desc", description)]):
        child = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{name}-{tag}"})
        child.text = legible(text)
        root.insert(place, child)
    root.attrib |= {
        "style": "stroke-linejoin: round; stroke-linecap: butt",
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-desc",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _adapt(attributes: dict[str, str], name: str) -> None:
    """Make ids the figure's own, colours variable, and fonts the reader's."""
    for key, value in attributes.items():
        if key == "id":
            attributes[key] = f"{name}-{value}"
        elif value.startswith("#") and key.endswith("href"):
            attributes[key] = f"#{name}-{value[1:]}"
        else:
            value = value.replace("url(#", f"url(#{name}-")
            if key == "style":
                value = re.sub(
                    r"(font:.*?\dpx) [^;]+", r"\1 var(--font, Helvetica, Arial, sans-serif)", value
                )
                for colour, variable in VARIABLES.items():
                    value = value.replace(colour, f"var({variable}, {colour})")
            attributes[key] = value
