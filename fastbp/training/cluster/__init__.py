"""A fit whose rows lie on the workers of a Dask cluster.

Only parameters go out, and the sums of groups come back; Dask does all the rest.
Other passes over the rows, such as that for means, are in ``portions.py``.
"""
