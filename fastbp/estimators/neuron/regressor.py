"""One neuron for a number, several for more, behind scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import column_or_1d

from fastbp.arguments import names_in_docs
from fastbp.data.rows import Rows
from fastbp.data.sources.pieces import Pieces, is_collection
from fastbp.estimators.neuron.base import KNOWN_LOSSES, KnownLoss, Neurons, ScoresRows
from fastbp.estimators.neuron.labels import Prepared, survey
from fastbp.estimators.neuron.lazy import takes_collections
from fastbp.estimators.neuron.rows import labelled
from fastbp.estimators.neuron.solver import SOLVERS, SolverName
from fastbp.estimators.scikit_learn import StrOptions, fit_method
from fastbp.models.activations import HiddenActivation, hidden_activations
from fastbp.training.callbacks import EpochState
from fastbp.training.optimizers import Optimizer


@names_in_docs(losses=KNOWN_LOSSES, activations=hidden_activations(), solvers=SOLVERS)
class NeuronRegressor(ScoresRows, RegressorMixin, Neurons):  # type: ignore[misc]
    """One neuron for a number; for several numbers, one neuron each.

    With the defaults this is linear least squares, by L-BFGS: the coefficients are those of
    scikit-learn's ``Ridge(alpha)``. See :class:`NeuronClassifier`.

    Parameters
    ----------
    loss : {losses}, default="squared_error"
        "squared_error" (also "half_mse") is half the squared error, summed over the outputs; "mse"
        is the squared error's mean over them. "log_loss" (also "bce"), which needs the sigmoid and
        y from 0 to 1, is the binary cross-entropy, summed.
    activation : {activations}, default="identity"
        That of each output.
    solver : {solvers}, or an optimizer, default="auto"
        "auto" is "lbfgs", but "sgd" in ``partial_fit``, and where `batch_size` or
        `learning_rate_init` is given. By name with its defaults ("sgd" with `momentum` and
        `nesterovs_momentum`, "lbfgs" with a memory of 30 steps), or one with values of your own,
        such as ``fastbp.Adam(beta_1=0.8)`` or ``fastbp.LBFGS(gtol=1e-8)``. Adam's steps do
        not grow with y.
    alpha : float, default=0.0001
        Strength of the L2 penalty: alpha/2 times the sum of the squared weights, divided by the
        number of rows of a batch (or the sum of their weights), is added to its loss. Intercepts
        are not penalized. With the loss "squared_error" it is that of scikit-learn's ``Ridge``.
    batch_size : int or None, default=None
        Rows of each update: None takes all, 1 trains online. Where it is None, ``partial_fit``
        with the solver "auto" takes 200, but all rows of a cluster. L-BFGS takes all.
    learning_rate_init : "auto", float or callable, default="auto"
        A rate for all epochs, or a function from the epoch (from 0) to one, such as those of
        :mod:`fastbp.schedules`. "auto" takes the optimizer's usual rate, 0.01 for Adam and
        RMSprop; for gradient descent, which has none, one over a bound on the loss's curvature
        (see Notes), which costs one pass over the rows. L-BFGS has none.
    max_iter : int, default=1000
        Maximum number of epochs; with L-BFGS, of iterations, each of which takes one pass over the
        rows, or a few. There is a warning if it ends a fit, unless `tol` is None.
    shuffle : bool or "window", default=True
        Visit the rows in a new random order each epoch (a single batch of all rows needs none):
        in any order, or with "window", which takes less memory and reads files faster, within
        windows: see :func:`fastbp.fit_neuron`. Rows without random access are always shuffled in
        windows.
    random_state : int, RandomState, numpy.random.Generator or None, default=None
        Seed or generator for the shuffles, and for the initial values of ReLU: others start from
        zeros.
    tol : float or None, default=1e-4
        Stop after `n_iter_no_change` consecutive epochs whose loss did not improve on the best by
        more than this, in the loss's own units. None never does. With L-BFGS it decides only with
        `early_stopping`; otherwise the tolerances of :class:`fastbp.LBFGS` do.
    n_iter_no_change : int, default=50
        The number of such epochs. With momentum, twenty can be a single swing past the optimum;
        five are enough for batches much smaller than the data. With L-BFGS as `tol`.
    early_stopping : bool, default=False
        Hold rows out, let the loss on them decide when to stop, and restore the parameters with the
        lowest.
    validation_fraction : float, default=0.1
        The fraction of the rows that `early_stopping` holds out: see `validation` of
        :func:`fastbp.fit_neuron`.
    momentum : float, default=0.9
        For "sgd": from 0 to below 1; 0 is plain gradient descent.
    nesterovs_momentum : bool, default=True
        For "sgd": whether to use Nesterov's momentum.
    warm_start : bool, default=False
        Begin with `coef_` and `intercept_` of the last fit, and a new optimizer.
    n_threads : int or None, default=None
        None decides by the amount of work.
    callback : callable or None, default=None
        Called after each epoch with an :class:`~fastbp.training.callbacks.EpochState`; returning
        True stops the training. Its ``weights`` and ``bias`` have the shapes (n_features,) and
        (); with several outputs there are ``weights`` and ``biases``, lists of one layer.
    verbose : bool or int, default=False
        Whether to print the loss of each epoch.
    progress : bool or "always", default=False
        True shows a bar in a terminal or a notebook, "always" everywhere.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
        The weights: float32 if the features of the fit that began them are, else float64. They can
        be set, and `intercept_` as well: predictions follow.
    intercept_ : float or ndarray of shape (n_outputs,)
        The biases.
    loss_curve_ : list of float
        The loss of each completed epoch, taken before its updates, penalty included. Those of
        ``partial_fit`` are appended. An epoch of L-BFGS is an iteration, here and below.
    validation_loss_curve_ : list of float
        The loss on the rows held out after each epoch; with `early_stopping` only.
    n_iter_ : int
        The number of completed epochs, of all calls of ``partial_fit`` together.
    stopped_ : str
        Why training stopped: "tol", also if L-BFGS has ended by its own tolerances, "epochs",
        "callback" or "interrupted".
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if all are text.

    See Also
    --------
    NeuronClassifier : One neuron for classes; what its notes say of rows, of float32, of
        scikit-learn's tools, of Ctrl-C and of exceptions is true here, too.
    MLPRegressor : Hidden layers as well.
    fastbp.fit_neuron : The array interface.

    Notes
    -----
    The automatic rate of SGD is that of :class:`NeuronClassifier`, with s = 1 for half the squared
    error of identity and ReLU, 0.0771 of the sigmoid and 1.23 of tanh (both for y that they can
    reach), twice that for the whole, and 1/4 for the log loss.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastbp import NeuronRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), NeuronRegressor()).fit(X, y)
    >>> round(model.score(X, y), 3)
    0.518
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Neurons._parameter_constraints,
        "activation": [StrOptions(set(hidden_activations()))],
    }

    activation: HiddenActivation

    def __init__(
        self,
        loss: KnownLoss = "squared_error",
        *,
        activation: HiddenActivation = "identity",
        solver: SolverName | Optimizer = "auto",
        alpha: float = 0.0001,
        batch_size: int | None = None,
        learning_rate_init: Literal["auto"] | float | Callable[[int], float] = "auto",
        max_iter: int = 1000,
        shuffle: bool | Literal["window"] = True,
        random_state: int | np.random.RandomState | np.random.Generator | None = None,
        tol: float | None = 1e-4,
        n_iter_no_change: int = 50,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        warm_start: bool = False,
        n_threads: int | None = None,
        callback: Callable[[EpochState], Any] | None = None,
        verbose: bool | int = False,
        progress: bool | Literal["always"] = False,
    ) -> None:
        self._set_parameters(locals())

    @fit_method
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> NeuronRegressor:
        """Train for one epoch over these rows, and continue where the last call ended.

        The optimizer and the order of rows continue, too: n calls with the same rows are one fit of
        n epochs. `tol` and `warm_start` are ignored.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or Rows
            As for :meth:`fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
            The numbers to predict, or None with rows that carry their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Not negative.

        Returns
        -------
        self : NeuronRegressor
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def _prepared(
        self,
        rows: Rows,
        y: Any,
        weight: Any,
        known: np.ndarray | None,
        dtype: np.dtype[Any],
        lengths: bool,
    ) -> Prepared:
        if is_collection(y):
            y = Pieces("y", y)
        elif y is not None:
            if y.ndim == 2 and y.shape[1] == 1:
                y = column_or_1d(y, warn=True)
            y = np.ascontiguousarray(y.reshape(len(y), -1), dtype=np.float64)
        rows = labelled(rows, y, weight, dtype)
        found = survey(rows, None, grouped=False, lengths=True) if lengths else None
        return Prepared(rows, rows.n_labels, found, np.ones(1))

    @takes_collections
    def predict(self, X: Any) -> np.ndarray:
        """Return the outputs.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or Rows

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._outputs(X, self.activation)

    @property
    def _output(self) -> HiddenActivation:
        return self.activation

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _more_tags(self) -> dict[str, Any]:  # before scikit-learn 1.6
        return {"multioutput": True}
