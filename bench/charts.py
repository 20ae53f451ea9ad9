"""The charts: time by size, the gain of a second thread, the trend over saved runs, loss curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.providers import COLOURS, ORDER
from bench.readme import duration
from bench.saved import Saved
from bench.workloads.registry import CASES

SPEED = Path(__file__).with_name("speed.png")
TREND = Path(__file__).with_name("trend.png")
CURVES = Path(__file__).with_name("curves.png")
MARKERS = dict(zip(COLOURS, "os^Dv", strict=True))
GREY = "#666666"


def draw_speed(run: Saved, path: Path = SPEED) -> None:
    """Draw time by size beside what a second thread brings."""
    figure = Figure(figsize=(11.0, 4.6), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1.0])
    _sizes(left, run)
    _threads(right, run)
    figure.savefig(path)


def draw_trend(found: list[Saved], path: Path = TREND) -> None:
    """Draw the ratio to NumPy over saved runs, relative to the first: up is faster."""
    figure = Figure(figsize=(11.0, 4.2), dpi=130, layout="constrained")
    axes = figure.subplots()
    groups = {case.group for case in CASES.values() if case.gated}
    places = np.arange(1, len(found) + 1)
    colours = _colours(len(groups))
    for i, (group, colour) in enumerate(zip(sorted(groups), colours, strict=True)):
        members = [t for t, case in CASES.items() if case.group == group and case.gated]
        ratios = np.array([[run.ratio(title, "NumPy") for run in found] for title in members])
        with np.errstate(all="ignore"):
            relative = np.exp(np.nanmean(np.log(ratios / ratios[:, :1]), axis=0))
        marker = "os^"[i // 10]  # there are ten colours
        axes.plot(places, relative, marker=marker, color=colour, linewidth=1.6, label=group)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xticks(places, [f"{run.when[:10]}\n{run.commit}" for run in found], fontsize=8)
    axes.set_ylabel("times as fast against NumPy as in the first run")
    axes.set_title("Trend over saved runs, geometric mean of each group", loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _tidy(axes)
    figure.savefig(path)


def draw_curves(models: dict[str, Any], path: Path = CURVES) -> None:
    """Draw the loss curves of estimators by title and provider, one on the other."""
    figure = Figure(figsize=(11.0, 3.6), dpi=130, layout="constrained")
    titles = [title for title in models if title.endswith("defaults")]
    for axes, title in zip(figure.subplots(1, 3), titles, strict=True):
        theirs, ours = (models[title][name].loss_curve_ for name in ("scikit-learn", "fastbp"))
        axes.plot(theirs, color=COLOURS["scikit-learn"], linewidth=6.0, alpha=0.35)
        axes.plot(ours, color=COLOURS["fastbp"], linewidth=1.5)
        axes.set_yscale("log")
        axes.set_title(title.removesuffix(", defaults"), loc="left", fontsize=11)
        axes.set_xlabel("epoch")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("loss")
    figure.axes[-1].legend(["scikit-learn", "fastbp"], frameon=False)
    figure.savefig(path)


def _colours(count: int) -> Any:
    from matplotlib import colormaps

    return colormaps["tab10"](np.arange(count) % 10)


def _sizes(axes: Axes, run: Saved) -> None:
    cases = sorted(
        (case for t, case in CASES.items() if case.group == "neuron" and t in run.figures),
        key=lambda case: case.bytes_read,
    )
    sizes = np.array([case.bytes_read / 8 for case in cases])
    for name in ORDER:
        seconds = [
            run.figures[c.title][name].seconds if name in run.figures[c.title] else np.nan
            for c in cases
        ]
        if not np.isnan(seconds).all():
            axes.plot(
                sizes, seconds, marker=MARKERS[name], color=COLOURS[name], label=name, markersize=5
            )
    _memory_limit(axes, run, sizes)
    axes.set_xscale("log")
    axes.set_yscale("log")
    names: dict[float, list[str]] = {}
    for size, case in zip(sizes, cases, strict=True):
        names.setdefault(size, []).append(case.name)
    labels = ["\n".join(shown) for shown in names.values()]
    axes.set_xticks(list(names), labels, rotation=35, ha="right", fontsize=8)
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: duration(seconds)))
    axes.set_ylabel("time per epoch")
    axes.set_title("One neuron, rows x features, one thread", loc="left", fontsize=11)
    axes.legend(frameon=False, loc="upper left")
    _tidy(axes)


def _memory_limit(axes: Axes, run: Saved, sizes: np.ndarray) -> None:
    """Draw the time in which a plain sum reads the features, where no cache holds them."""
    rates = [
        figure.known["read GB/s"]
        for title, by_name in run.figures.items()
        for figure in by_name.values()
        if "read GB/s" in figure.known and CASES[title].threads == 1
    ]
    if not rates:
        return
    line = np.array([run.known["cache_bytes"] / 8, sizes.max() * 2.0])
    axes.plot(line, 8 * line / (max(rates) * 1e9), color=GREY, linestyle="--", linewidth=1.3)
    axes.annotate(
        f"a plain sum: {max(rates):.0f} GB/s",
        (line.mean(), 8 * line.mean() / (max(rates) * 1e9)),
        xytext=(2, -16),
        textcoords="offset points",
        color=GREY,
        fontsize=8,
    )


def _threads(axes: Axes, run: Saved) -> None:
    titles = [t for t, c in CASES.items() if c.threads == 2 and t in run.figures]
    names = [n for n in ORDER if any(n in run.figures[t] for t in titles)]
    width = 0.8 / max(1, len(names))
    for k, name in enumerate(names):
        gains = [
            run.figures[t.replace(", 2 threads", "")][name].seconds / run.figures[t][name].seconds
            if name in run.figures[t]
            else np.nan
            for t in titles
        ]
        places = np.arange(len(titles)) + (k - (len(names) - 1) / 2) * width
        axes.bar(places, gains, width * 0.92, color=COLOURS[name], label=name)
    axes.axhline(1.0, color=GREY, linewidth=0.8)
    axes.axhline(2.0, color=GREY, linewidth=0.8, linestyle="--")
    shown = [CASES[t].name.removesuffix(" a step") for t in titles]
    axes.set_xticks(np.arange(len(titles)), shown, fontsize=8, rotation=35, ha="right")
    axes.set_ylabel("times as fast as one thread")
    axes.set_title("Two threads", loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper left", bbox_to_anchor=(0.0, 0.97))
    axes.set_ylim(0.0, 2.6)
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
