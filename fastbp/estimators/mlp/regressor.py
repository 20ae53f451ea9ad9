"""scikit-learn's regressor, by fastbp's kernels: a drop-in."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from fastbp.estimators.mlp.base import BaseMLP
from fastbp.estimators.mlp.targets import Numbers
from fastbp.estimators.scikit_learn import StrOptions, fit_method
from fastbp.models.losses import LOSSES


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    """A multi-layer perceptron that predicts numbers: scikit-learn's, several times as fast.

    The same parameters, attributes and methods as scikit-learn's class of this name, the same
    start values and orders from the same `random_state`, and the same losses and predictions to
    rounding. What it has beyond: more losses, `keep_optimizer`, `n_threads`, `callback`,
    `progress`, ``validation_loss_curve_``, ``stopped_``, and validation data for `fit` and
    `partial_fit`.

    Parameters
    ----------
    loss : str, default='squared_error'
        'squared_error' and 'poisson' are scikit-learn's: half the squared error, and half the
        Poisson deviance of the exponential of the output, for targets from 0 on. The others are
        fastbp's own (see :func:`fastbp.fit_network`): 'mse' and 'half_mse'; 'bce' with a sigmoid
        output, for targets from 0 to 1; 'cross_entropy' with a softmax, for rows of targets that
        sum to 1. Their losses are told as the rest of fastbp tells them.
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Neurons of each hidden layer.
    activation : {'identity', 'logistic', 'tanh', 'relu'}, default='relu'
        Of the hidden layers: x, 1/(1 + e**-x), tanh x or max(0, x).
    solver : {'lbfgs', 'sgd', 'adam'}, default='adam'
        Stochastic gradient descent, Adam (Kingma and Ba, ICLR 2015), both over mini-batches, or
        L-BFGS-B over all rows at once, by SciPy. The last often needs the least time on small
        data.
    alpha : float, default=0.0001
        Strength of the L2 penalty: alpha/2 times the sum of the squared weights, over the rows of
        the batch (or their sum of weights), is added to the loss.
    batch_size : int or 'auto', default='auto'
        Rows of a mini-batch; 'auto' is 200, or all rows if they are fewer. Not for L-BFGS.
    learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
        The rate of solver 'sgd': always `learning_rate_init`; that divided by t**power_t, where t
        counts samples, changed after each epoch; or divided by 5 each time that no epoch of
        `n_iter_no_change` has brought `tol`, until it is no more than 1e-6.
    learning_rate_init : float, default=0.001
        The rate at the start, of 'sgd' and 'adam'.
    power_t : float, default=0.5
        The exponent of 'invscaling'.
    max_iter : int, default=200
        Epochs at most, or iterations of L-BFGS.
    shuffle : bool, default=True
        Whether to visit the rows in a new order in each epoch, for 'sgd' and 'adam'.
    random_state : int, RandomState or None, default=None
        The source of start values, orders, and of the split for `early_stopping`: the same draws
        as in scikit-learn.
    tol : float, default=1e-4
        An epoch counts as progress only if it brings the loss (or the validation score) beyond
        the best by at least this. For L-BFGS, the largest element of the gradient that is small
        enough.
    verbose : bool or int, default=False
        Whether to print the loss of each epoch.
    warm_start : bool, default=False
        Whether `fit` goes on from the parameters of the last call.
    momentum : float, default=0.9
        From 0 to 1, for solver 'sgd'.
    nesterovs_momentum : bool, default=True
        Whether it is Nesterov's.
    early_stopping : bool, default=False
        Whether the score on held-out rows decides when to stop, and which parameters to keep:
        those with the best one. For 'sgd' and 'adam'.
    validation_fraction : float, default=0.1
        The part of the rows that `early_stopping` holds out.
    beta_1, beta_2 : float, default=0.9 and 0.999
        How slowly Adam's means of the gradient and of its square forget.
    epsilon : float, default=1e-8
        Added to Adam's divisor.
    n_iter_no_change : int or inf, default=10
        More epochs in a row than this without progress end the training.
    max_fun : int, default=15000
        Evaluations of the loss at most, by L-BFGS.
    keep_optimizer : bool, default=False
        Whether a warm start goes on with the optimizer, too: with its running means, if it is of
        the same kind, and with its rate, if `learning_rate_init` and `learning_rate` are the same.
        (In scikit-learn, and here by default, only `partial_fit` does.)
    n_threads : int or None, default=None
        Threads to compute with; None decides by size. The result is the same, bit for bit.
    callback : callable or None, default=None
        Called after each epoch (iteration of L-BFGS) with an
        :class:`~fastbp.training.callbacks.EpochState`: ``epoch``, ``loss``,
        ``validation_loss``, and read-only ``weights`` and ``biases``. Returning True stops.
    progress : bool or 'always', default=False
        True shows a bar in a terminal or a notebook, 'always' elsewhere, too. For 'sgd' and
        'adam'.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_inputs, n_outputs)
        The weights of each layer, of the dtype of the features (float32 or float64). They can be
        set: predictions follow, and `partial_fit` or a warm start goes on from them.
    intercepts_ : list of ndarray of shape (n_outputs,)
        The biases, likewise.
    loss_ : float
        The loss of the last epoch.
    loss_curve_ : list of float
        The loss of each epoch, the mean of its batches, each before its update. For 'sgd' and
        'adam', as are the next five.
    best_loss_ : float or None
        The least of them; None with `early_stopping`.
    validation_loss_curve_ : list of float
        The loss on held-out or given validation rows after each epoch, without penalty; NaN for
        an epoch without such rows, empty where there have never been any.
    validation_scores_ : list of float or None
        The score on them after each epoch, R**2, with `early_stopping`.
    best_validation_score_ : float or None
        The best of them.
    t_ : int
        Samples seen.
    n_iter_ : int
        Epochs, or iterations, of the last fit.
    stopped_ : str
        Why it ended: 'epochs', 'tol', 'callback', 'interrupted' or 'diverged'; that of L-BFGS
        'max_fun' or 'line search' as well.
    n_layers_, n_outputs_ : int
        Layers, inputs included; outputs.
    out_activation_ : {'identity', 'exp', 'logistic', 'softmax'}
        Activation of the output.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where the features have names that are all strings.

    Warns
    -----
    ConvergenceWarning
        If training ends with `max_iter`.
    UserWarning
        After Ctrl-C, which ends 'sgd' and 'adam': the parameters hold every completed update.
        (From L-BFGS it raises; the parameters are those of the last iteration.)

    Notes
    -----
    float32 features are computed with in float64. Losses are told as
    scikit-learn tells them: a squared error is the mean over the outputs (what is descended is
    their sum), and the batches of a weighted epoch count by their rows.

    See Also
    --------
    MLPClassifier : Classes instead of numbers.
    fastbp.fit_network : The array interface.

    Examples
    --------
    >>> from fastbp import MLPRegressor
    >>> import numpy as np
    >>> X = np.linspace(0.0, 3.0, 100)[:, None]
    >>> model = MLPRegressor(activation="tanh", solver="lbfgs", random_state=0, max_iter=1000)
    >>> model.fit(X, np.sin(2.0 * X[:, 0])).predict([[1.0], [2.0]]).round(1)
    array([ 0.9, -0.8])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson", *LOSSES})],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        keep_optimizer: bool = False,
        n_threads: int | None = None,
        callback: Any = None,
        progress: bool | str = False,
    ) -> None:
        self._set_parameters(locals())

    @available_if(lambda estimator: estimator._is_stochastic())  # type: ignore[untyped-decorator]
    @fit_method
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Train for one epoch, going on with parameters and optimizer.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
        X_val, y_val : array-like, default=None
            Validation data. `early_stopping` needs it here: once more than `n_iter_no_change`
            calls in a row have not raised the score on it by `tol`, the parameters with the best
            one are restored, and ``stopped_`` is ``'tol'``.

        Returns
        -------
        self : object
        """
        return self._fit(X, y, sample_weight, X_val, y_val, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return the outputs of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,), or (n_samples, n_outputs) with several
        """
        outputs = self._outputs(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    @property
    def _known(self) -> Numbers:
        return Numbers(self.loss)
