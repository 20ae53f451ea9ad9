"""One neuron, or one for each class or output, behind scikit-learn's interface.

classifier.py, regressor.py
    The two classes and their parameters.
base.py
    What they share: a fit, what is kept of it, and outputs.
rows.py
    Arrays, tables and rows that come in.
labels.py
    Labels of classes, and one pass over the rows beforehand.
lazy.py
    Predictions for Dask collections.
scoring.py
    Scores of rows on a cluster.
solver.py
    Which optimizer trains them, and until when.
rates.py
    A learning rate that is safe for the rows.
"""
