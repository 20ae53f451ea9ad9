"""The command line: ``fastbp train``, ``predict``, ``synth``, ``warmup`` and ``info``.

- ``app.py``: the group of commands, and the two short ones;
- ``train.py``, ``predict.py``, ``synth.py``: a command each; ``options.py``: what they share;
- for training: ``settings.py`` (the options), ``data.py`` (rows, split and prepared),
  ``scaling.py`` (means, deviations, class indices), ``fit.py`` (the fit, and what it is worth),
  ``loss_log.py``, ``plot.py`` and ``report.py`` (what is written), ``plain_loop.py`` (what the
  fit is timed against).

It may import every other room; none imports it.
"""
