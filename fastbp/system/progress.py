"""Progress bars: tqdm's, in rows, so that they move during a long epoch, too."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from typing import Any

from fastbp.kernels.cache import KernelCache

# It fits into 80 columns, with room for a bar. A narrower terminal cuts it off at the right, where
# half of a loss would mislead, but half of a time does not.
TRAINING = "{desc} {percentage:3.0f}%|{bar}|{losses} {rate_noinv_fmt} {elapsed}<{remaining}"
READING = "{desc} {percentage:3.0f}%|{bar}| {rate_noinv_fmt} {elapsed}<{remaining}"
WARMING = "getting ready: {desc} |{bar}| {n_fmt}/{total_fmt}"
PATIENCE_SECONDS = 0.5  # what takes less needs no bar


class Progress:
    """A bar over all rows of all epochs, if it can be seen.

    Parameters
    ----------
    show : bool or "always"
        True shows it in a terminal or a notebook, "always" also elsewhere.
    """

    def __init__(self, show: bool | str, epochs: int, rows: int) -> None:
        self._bar: Any = None
        self._epochs = epochs
        self._rows = rows
        if _can_be_seen(show):
            self._bar = _bar_of_rows(epochs * rows, self._description(0), bar_format=TRAINING)

    def __enter__(self) -> Progress:
        return self

    def begin(self, epochs: int, rows: int) -> None:
        """Set where the fit continues: what was done before does not count for the rate."""
        if self._bar is None:
            return
        self._bar.initial = self._bar.n = self._bar.last_print_n = epochs * self._rows + rows
        self._bar.set_description_str(self._description(epochs))

    def show(
        self, epochs: int, rows: int, loss: float | None, validation_loss: float | None = None
    ) -> None:
        """Set the bar to this many completed epochs and rows of the next."""
        if self._bar is None:
            return
        if loss is not None:
            self._bar.losses = f" loss {loss:.4g}"
        if validation_loss is not None:
            self._bar.losses += f" val {validation_loss:.4g}"
        self._bar.set_description_str(self._description(epochs), refresh=False)
        self._bar.update(epochs * self._rows + rows - self._bar.n)

    def _description(self, epochs: int) -> str:
        return f"epoch {epochs}/{self._epochs}"

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()


def rows_bar(rows: int, what: str) -> Any:
    """Return tqdm's bar for one pass over rows, shown in a terminal if it takes long."""
    unseen = {"delay": PATIENCE_SECONDS, "disable": not _in_a_terminal(), "leave": False}
    return _bar_of_rows(rows, what, bar_format=READING, **unseen)


def _bar_of_rows(rows: int, what: str, **options: Any) -> Any:
    shared = {"unit": "row", "unit_scale": True, "dynamic_ncols": True}
    return _bar_type()(total=rows, desc=what, **shared, **options)


def warmup_bar(show: bool | str, names: Collection[str]) -> Iterator[str]:
    """Yield the names of functions, and show which one is under way and how many there are."""
    if not _can_be_seen(show):
        yield from names
        return
    KernelCache.announced = True
    options = {"mininterval": 0.0, "dynamic_ncols": True, "leave": False}
    with _bar_type()(names, bar_format=WARMING, **options) as bar:
        for name in bar:
            bar.set_description_str(name)
            yield name


def _can_be_seen(show: bool | str) -> bool:
    return show == "always" or (bool(show) and (_in_a_notebook() or _in_a_terminal()))


def _in_a_notebook() -> bool:
    """Return whether this runs in a Jupyter kernel, whose output is not a terminal."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _in_a_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _bar_type() -> Any:
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # tqdm's monitor is a thread that never ends
        losses = ""

        @property
        def format_dict(self) -> dict[str, Any]:
            return {**super().format_dict, "losses": self.losses}

    return Bar
