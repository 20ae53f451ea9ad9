"""The command line: ``fastbp train``, ``predict``, ``synth``, ``warmup`` and ``info``.

app.py
    The group of commands, and the two short ones.
train.py, predict.py, synth.py
    One command each.
options.py
    What the commands share.
inputs.py, cluster.py
    FILE and what it stands for; the cluster of ``--cluster``.
settings.py, schedule.py
    The options of training, with their defaults; what --schedule takes.
data.py, scaling.py
    Rows to train on: opened, split, scaled, their classes as indices.
fit.py, figures.py, plain_loop.py
    The fit, how good it is, and the NumPy loop that it is timed against.
loss_log.py, plot.py, report.py
    What is written and printed.

It may import every other subpackage; none imports it.
"""
