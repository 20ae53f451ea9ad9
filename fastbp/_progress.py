"""The progress bar of a fit: tqdm's, in rows, so that a long epoch moves too."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


class Progress:
    """A bar over all rows of all epochs; without one, nothing.

    Parameters
    ----------
    show : bool or "always"
        True shows it in a terminal or a notebook, "always" wherever the output goes.
    """

    def __init__(self, show: bool | str, epochs: int, rows: int) -> None:
        self._bar: Any = None
        self._rows = rows
        if not show:
            return
        if show == "always" or _in_a_notebook() or _in_a_terminal():
            self._bar = _bar_type()(
                total=epochs * rows, unit="row", unit_scale=True, desc="training"
            )

    def __enter__(self) -> Progress:
        return self

    def show(self, epochs: int, rows: int, loss: float | None) -> None:
        """Set the bar to this many whole epochs and rows of the next."""
        if self._bar is None:
            return
        if loss is not None:
            self._bar.set_postfix_str(f"epoch {epochs}, loss {loss:.6g}", refresh=False)
        self._bar.update(epochs * self._rows + rows - self._bar.n)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def _in_a_notebook() -> bool:
    """Return whether a kernel of Jupyter is running this; its output is no terminal."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _in_a_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _bar_type() -> Any:
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # tqdm's monitor is a thread that never ends

    return Bar
