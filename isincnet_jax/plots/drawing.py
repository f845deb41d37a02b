"""Style of all plots: colours, figures, colour bars, decibels.

Figures are light; they are dark where Matplotlib's own style is, so that a page can have both::

    with plt.style.context("dark_background"):
        figure = plots.plot_filterbank(...)
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
from jaxtyping import Float, UInt8

from isincnet_jax import extras

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

FLOOR_DB = -80.0
"""The darkest colour of a spectrogram, and the lowest gain of a response."""

_Arguments = ParamSpec("_Arguments")
_Drawn = TypeVar("_Drawn")


class Theme(NamedTuple):
    """Theme: the colours of a light or a dark figure.

    Attributes:
        page: behind everything.
        ink: texts and what matters most.
        soft: axes, ticks, what stands back.
        line: grids, what is hardly there.
        cycle: of curves and groups, after Okabe and Ito: told apart with any colour vision.
        sequence: ends of viridis that are seen on the page, 0 to 1.

    References:
        M. Okabe and K. Ito, "Color universal design", 2008.
            https://jfly.uni-koeln.de/color/
    """

    page: str
    ink: str
    soft: str
    line: str
    cycle: tuple[str, ...]
    sequence: tuple[float, float]


_LIGHT = Theme(
    page="#ffffff",
    ink="#1b1d22",
    soft="#6a707c",
    line="#dcdcd6",
    cycle=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#6b7280"),
    sequence=(0.0, 0.78),
)
_DARK = Theme(
    page="#1c1f25",
    ink="#e9eaee",
    soft="#a9afbb",
    line="#363b45",
    cycle=("#56b4e9", "#e69f00", "#2fbf94", "#dd92bd", "#f0e442", "#f07f3c", "#b0a2ff", "#9aa0ab"),
    sequence=(0.3, 1.0),
)
_DASHES = ("-", "--", ":")


def importing_matplotlib() -> contextlib.AbstractContextManager[None]:
    """Context manager around imports of Matplotlib.

    Returns:
        A context that raises ImportError without Matplotlib; the message names the extra.
    """
    return extras.importing("matplotlib")


def theme() -> Theme:
    """Theme of the figures that are drawn now: dark where Matplotlib's background is.

    Returns:
        The light theme or the dark one.

    Raises:
        ImportError: without Matplotlib; the message names the extra.
    """
    with importing_matplotlib():
        import matplotlib
        from matplotlib import colors as named

    red, green, blue, opacity = named.to_rgba(matplotlib.rcParams["figure.facecolor"])
    # Luma of Rec. 709; a transparent figure may stand on any page and counts as light.
    return _DARK if opacity and 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.4 else _LIGHT


def style() -> dict[Any, Any]:
    """Style of all plots, as parameters of Matplotlib.

    Returns:
        Parameters for :func:`matplotlib.rc_context`.

    Raises:
        ImportError: without Matplotlib; the message names the extra.
    """
    with importing_matplotlib():
        from matplotlib.rcsetup import cycler

    page, ink, soft, line, cycle, _ = theme()
    return {
        "figure.facecolor": page,
        "savefig.facecolor": "auto",
        "axes.facecolor": page,
        "axes.edgecolor": soft,
        "axes.labelcolor": ink,
        "axes.axisbelow": True,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": "medium",
        "axes.prop_cycle": cycler(color=cycle),
        "figure.titlesize": "large",
        "font.size": 10.0,
        "grid.alpha": 1.0,
        "grid.color": line,
        "grid.linewidth": 0.7,
        "hatch.color": ink,
        "legend.frameon": False,
        "lines.linewidth": 1.4,
        "patch.edgecolor": page,
        "text.color": ink,
        **{f"{side}.color": soft for side in ("xtick", "ytick")},
        **{f"{side}.labelcolor": ink for side in ("xtick", "ytick")},
    }


def styled(draw: Callable[_Arguments, _Drawn]) -> Callable[_Arguments, _Drawn]:
    """Decorator of a function that draws: its figure has the style of all plots.

    Args:
        draw: returns a figure, or an animation whose figure :func:`settle_ticks` has seen.

    Returns:
        The function, within :func:`style`. Matplotlib's parameters are as before when it returns.
    """

    @functools.wraps(draw)
    def drawn(*args: _Arguments.args, **options: _Arguments.kwargs) -> _Drawn:
        with importing_matplotlib():
            import matplotlib
            from matplotlib.figure import Figure

        with matplotlib.rc_context(style()):
            found = draw(*args, **options)
            if isinstance(found, Figure):
                settle_ticks(found)
        return found

    return drawn


def settle_ticks(figure: Figure) -> None:
    """Settles the style of ticks and grids, which Matplotlib makes when it draws, outside of ours.

    Args:
        figure: with all its axes.
    """
    _, ink, soft, line, _, _ = theme()
    for axis in figure.axes:
        axis.tick_params(
            which="both", color=soft, labelcolor=ink, grid_color=line, grid_alpha=1.0,
            grid_linewidth=0.7, labelsize=10.0, width=0.8,
        )  # fmt: skip


def line_style(index: int) -> dict[str, Any]:
    """Style of a curve: a colour of the cycle; dashed, then dotted, after all of them.

    Args:
        index: of the curve, from 0.

    Returns:
        "color" and "linestyle".
    """
    cycle = theme().cycle
    return {
        "color": cycle[index % len(cycle)],
        "linestyle": _DASHES[index // len(cycle) % len(_DASHES)],
    }


def empty_figure(size: tuple[float, float]) -> Figure:
    """Figure that pyplot does not know, without axes.

    Args:
        size: width and height in inches.

    Returns:
        The figure, with the constrained layout.

    Raises:
        ImportError: without Matplotlib; the message names the extra.
    """
    with importing_matplotlib():
        from matplotlib.figure import Figure
    return Figure(figsize=size, layout="constrained")


def new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    """Figure with rows and columns of axes.

    Args:
        rows: of axes.
        columns: of axes.
        size: width and height of the figure in inches.

    Returns:
        An :func:`empty_figure`, and its axes: [columns] or [rows] where the other is 1, else
        [rows, columns].
    """
    figure = empty_figure(size)
    return figure, np.atleast_1d(figure.subplots(rows, columns))


def pixels(figure: Figure, *, dots_per_inch: int = 80) -> UInt8[np.ndarray, "height width 3"]:
    """Pixels of a figure, for logs that take pictures.

    Args:
        figure: its size in inches times the resolution is that of the picture.
        dots_per_inch: resolution.

    Returns:
        Uint8 [height, width, 3], red, green and blue.

    Raises:
        ImportError: without Matplotlib; the message names the extra.
    """
    with importing_matplotlib():
        from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dots_per_inch)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def decibels(power: np.ndarray, floor_db: float) -> np.ndarray:
    """Level in dB of a power relative to its largest value.

    Args:
        power: not negative, of any shape.
        floor_db: least level, dB, negative.

    Returns:
        dB from ``floor_db`` to 0; the floor everywhere if all is 0.
    """
    reference = max(float(np.max(power)), np.finfo(np.float64).tiny)
    return 10 * np.log10(np.maximum(power / reference, 10 ** (floor_db / 10)))


def colors(count: int) -> np.ndarray:
    """Colours of a sequence from low to high: viridis, without what the page swallows.

    Args:
        count: of colours.

    Returns:
        RGBA, float64 [count, 4], 0 to 1.
    """
    with importing_matplotlib():
        import matplotlib

    return matplotlib.colormaps["viridis"](np.linspace(*theme().sequence, count))


def signed_colormap() -> Colormap:
    """Diverging colour map for signed values: blue, the page at 0, orange.

    Lightness and chroma go in equal steps of Oklab from the middle to either end, so that equal
    differences look equal, whatever the sign; blue and orange are told apart with any colour
    vision.

    Returns:
        A map of 257 colours, the middle one of them for 0.

    References:
        B. Ottosson, "A perceptual color space for image processing", 2020.
            https://bottosson.github.io/posts/oklab/
    """
    with importing_matplotlib():
        from matplotlib.colors import ListedColormap

    middle, end, colour = (0.22, 0.86, 0.1) if theme() is _DARK else (0.985, 0.42, 0.135)
    value = np.linspace(-1.0, 1.0, 257)
    lightness = middle + (end - middle) * np.abs(value)
    hue = np.deg2rad(np.where(value < 0, 255.0, 45.0))
    chroma = colour * np.abs(value)
    shades = _srgb_from_oklab(lightness, chroma * np.cos(hue), chroma * np.sin(hue))
    return ListedColormap(shades, name="isincnet_signed")  # type: ignore[arg-type]


def _srgb_from_oklab(
    lightness: Float[np.ndarray, " n"], a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n 3"]:
    """sRGB of colours in Oklab, clipped to 0 to 1."""
    cones = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    matrix = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(matrix @ cones**3, 0.0, 1.0).T
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def color_bar(figure: Figure, axis: Axes, mesh: QuadMesh, *, label: str, extend: str) -> None:
    """Colour bar beside an axis and as high as it.

    Args:
        figure: of the axis.
        axis: that the mesh is on.
        mesh: whose colours the bar explains.
        label: short enough for the height of the axis.
        extend: "neither", "min", "max" or "both": ends beyond which values lie.
    """
    bar = figure.colorbar(
        mesh, ax=axis, label=label, extend=extend, extendfrac=0.04, fraction=0.05, pad=0.012,
        aspect=22,
    )  # fmt: skip
    bar.outline.set_visible(False)  # type: ignore[operator]
