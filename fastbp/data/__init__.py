"""Rows, whatever they come from: checked, split, ordered, read ahead.

- ``rows.py``: the contract of all rows (`Block`, `Rows`, `Mapped`, `Wrapped`);
- ``arrays.py``: rows in memory, and what kernels can read in place; ``sparse.py``: sparse matrices;
  ``frames.py``: tables of pandas, Polars and Arrow;
- ``checks.py``: arrays and weights that come in; ``labels.py``: the labels that a loss takes;
  ``classes.py``: labels that are classes; ``moments.py``: means and deviations of columns;
- ``split.py``: rows that are held out; ``order.py``: shuffles;
- ``read_ahead.py``: blocks read by other threads; ``copies.py``: when files are read only once;
  ``supply.py``: which rows the kernel gets next;
- ``sources/``: files and iterators.

It may import `fastbp.system`, `fastbp.kernels`, `arguments` and `errors`. Only ``frames.py`` and
``sources/`` import optional packages, and only when they are needed.
"""
