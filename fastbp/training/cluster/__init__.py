"""A fit whose rows lie on the workers of a Dask cluster.

Only parameters go out, and the sums of groups come back; Dask does all the rest.

placement.py
    Where the rows lie: parts of whole groups.
passes.py, worker.py
    A pass over them for each batch: what the client does, and what a worker does.
portions.py
    Other passes, such as that for means.
connection.py
    The client: waiting, and what went wrong.
"""
