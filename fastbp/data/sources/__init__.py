"""Files and iterators of rows: one file for each format, and ``formats.py``, which lists them."""
