"""scikit-learn's multi-layer perceptrons, by fastbp's kernels."""
