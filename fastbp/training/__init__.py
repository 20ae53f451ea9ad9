"""One fit, whatever the model: optimizers, the epoch driver, checkpoints, callbacks.

It imports ``data`` and what that may import.
"""
