"""Compiled code: loops over contiguous numbers, whose shapes and types were checked before.

- ``jit.py``: how kernels are compiled. ``cache.py``: where they are kept on disk. ``layout.py``:
  the indices in the three arrays of a fit.
- ``vector.py``: eight numbers at once, and four times eight, of float64 or float32.
  ``lowering.py``: how such operations become code. ``lanes.py``: those across the eight.
  ``halves.py``: four numbers of each of two rows. ``atomics.py``: memory that threads share.
- ``stored.py``: the types in which rows are stored. ``reading.py``: how they become vectors.
- ``powers.py``, ``exponential.py``, ``activations.py``, ``losses.py``, ``update.py``: the formulas;
  activations, losses and optimizers with their codes.
- ``matvec.py``, ``matmul.py``: products of a tile of rows with one column of weights, with many.
  ``blocks.py``: what the latter are made of.
  ``eights.py``, ``fours.py``: the former for wide and for narrow registers. ``panels.py``: rows for
  the latter, eight side by side. ``sums.py``: sums over the rows of a tile.
- ``steps.py``: epochs, batches and threads, the same for every model.
- ``neuron.py``, ``online_neuron.py``: one neuron, by batches and by single rows.
- ``plan.py``, ``layers.py``, ``network.py``, ``shared_network.py``, ``online_network.py``,
  ``sparse_network.py``: networks; by chunks, by threads that share each batch, by single rows.
- ``random.py``: counter-based random numbers.

It imports nothing of fastbp but itself. It stays flat: the cache's digest covers the files of
this folder alone.
"""
