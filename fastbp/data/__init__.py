"""Rows, whatever they come from: checked, split, ordered, read ahead.

- ``rows.py``: the contract: `Rows`, a `Block` of them, rows that wrap others;
- ``arrays.py``, ``sparse.py``: rows in memory; ``sources/``: files and iterators;
  ``frames.py``: tables of pandas, Polars and Arrow;
- ``checks.py``: checks of arrays; ``labels.py``: of labels and weights; ``classes.py``: labels
  that are classes;
- ``split.py``: rows held out; ``order.py``: shuffles; ``read_ahead.py``: blocks read on other
  threads; ``supply.py``: what the kernel gets next.

It may import `fastbp.system`, `fastbp.kernels`, `arguments` and `errors`.
"""
