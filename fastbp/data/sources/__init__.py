"""Files and iterators of rows.

- ``opening.py``: `open_rows`, for whatever rows can come from;
- ``formats.py``: the formats of files, each an entry of `FORMATS` and a file of this folder:
  ``npy.py``, ``npz.py``, ``text.py`` (``.csv``, ``.tsv``), ``json_lines.py`` (``.jsonl``),
  ``arrow.py`` (Parquet, Arrow);
- ``files.py``: what all files share; ``columns.py``: which columns are features, labels, weights;
  ``text_labels.py``: labels that are text;
- ``folder.py``: the files of a folder, or of a list, as one; ``hive.py``: columns that the
  names of folders hold;
- ``iterator.py``: blocks that a callable makes; ``dask_rows.py``: Dask arrays and DataFrames,
  whose partitions are in ``pieces.py``, and labels in them that are classes in ``relabelled.py``;
- ``spool.py``: a copy in a temporary file; ``writing.py``: rows written as ``.npy``.

It may import the rest of `fastbp.data`, and what that may import. `arrow.py`,
`text.py` and `json_lines.py`, with `text_labels.py` for them, need pyarrow, and import it when such
a file is opened.
"""
