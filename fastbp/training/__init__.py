"""One fit, whatever the model: what happens between the arguments and the result.

problem.py
    What a model brings to training, the options, and the outcome.
optimizers.py
    The registry of optimizers: a class for each.
driver.py
    The epoch driver: arguments, callbacks, progress, checkpoints, interrupts.
run.py
    Epoch after epoch: learning rates, orders, losses.
slices.py, cluster/
    Who computes them: kernels called here, for some 50 ms each, or the workers of a cluster.
sharing.py
    Whether all threads share each batch, by what earlier slices took.
memory.py
    The three arrays that the kernel works in, with names.
objective.py
    The loss, or the loss and its gradient, of all rows at given parameters.
lbfgs.py, variables.py, preconditioning.py
    L-BFGS, whose iterations are SciPy's; the variables that it goes by; how they are chosen.
validation.py
    The loss on validation data, and early stopping.
checkpoints.py
    A fit in a file, and what distinguishes it from other fits.
state.py, callbacks.py
    What a fit leaves for the next one, and what a callback is given.

It may import ``data``, and what that may import: ``system``, ``kernels``.
"""
