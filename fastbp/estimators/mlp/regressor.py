"""scikit-learn's regressor, by fastbp's kernels: a drop-in."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from fastbp.arguments import names_in_docs
from fastbp.estimators.base import Scores
from fastbp.estimators.mlp.base import BaseMLP
from fastbp.estimators.mlp.targets import Numbers
from fastbp.estimators.names import HIDDEN, HiddenName
from fastbp.estimators.scikit_learn import StrOptions, fit_method
from fastbp.models.losses import LOSSES, LossName
from fastbp.training.optimizers import OPTIMIZERS, OptimizerName

KNOWN = ["squared_error", "poisson", *LOSSES]


@names_in_docs(activations=HIDDEN, solvers=OPTIMIZERS, losses=KNOWN)
class MLPRegressor(Scores, RegressorMixin, BaseMLP):  # type: ignore[misc]
    """A multi-layer perceptron that predicts numbers: scikit-learn's, several times as fast.

    A drop-in for scikit-learn's class of this name, of release 1.5 or newer, with the additions
    and differences that :class:`MLPClassifier` lists in its notes.

    Parameters
    ----------
    loss : {losses}, default="squared_error"
        "squared_error" and "poisson" are scikit-learn's: half the squared error, and half the
        Poisson deviance of the exponential of the output, for targets that are not negative. The
        others are those of :func:`fastbp.fit_network`, and reported as it reports them; they
        decide the activation of the output, and what targets they take: "bce" takes those from 0
        to 1, "cross_entropy" rows of them that sum to 1.
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Neurons of each hidden layer.
    activation : {activations}, default="relu"
        That of the hidden layers; "logistic" is the sigmoid.
    solver : {solvers}, default="adam"
        "lbfgs" is L-BFGS-B, by SciPy, on the loss of all rows at once; on small data it is often
        the fastest. The others are stochastic: they update after every mini-batch, as
        :class:`fastbp.SGD`, :class:`fastbp.Adam`, :class:`fastbp.AdamW` (with a decay of 0.01,
        besides `alpha`) and :class:`fastbp.RMSprop` say.
    alpha : float, default=0.0001
        Strength of the L2 penalty: alpha/2 times the sum of the squared weights, divided by the
        number of rows of the batch (or the sum of their weights), is added to its loss.
    batch_size : int or "auto", default="auto"
        Rows of a mini-batch; "auto" is 200, or all rows if there are fewer. Not for "lbfgs".
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        How the rate of "sgd" changes: not at all; after each epoch to `learning_rate_init` divided
        by t**power_t, where t counts samples; or it is divided by 5 whenever `n_iter_no_change`
        consecutive epochs have not improved by `tol`, and training ends when it is at most 1e-6.
    learning_rate_init : float, default=0.001
        The first learning rate. Not for "lbfgs".
    power_t : float, default=0.5
        The exponent of "invscaling".
    max_iter : int, default=200
        Maximum number of epochs, or of iterations of "lbfgs".
    shuffle : bool, default=True
        Whether to visit the rows in a new order in each epoch. Not for "lbfgs".
    random_state : int, RandomState or None, default=None
        The source of initial parameters, of shuffles, and of the split for `early_stopping`; the
        same numbers are drawn as in scikit-learn.
    tol : float, default=1e-4
        An epoch is an improvement only if it lowers the lowest loss so far (or raises the best
        validation score) by this. "lbfgs" ends when no element of the gradient is larger.
    verbose : bool or int, default=False
        Whether to print the loss of each epoch.
    warm_start : bool, default=False
        Whether `fit` continues from the parameters of the last call.
    momentum : float, default=0.9
        From 0 to 1, for solvers that use momentum.
    nesterovs_momentum : bool, default=True
        Whether to use Nesterov's momentum.
    early_stopping : bool, default=False
        Whether the score on held-out rows decides when to stop and which parameters to keep:
        those with the best score. Not for "lbfgs".
    validation_fraction : float, default=0.1
        The fraction of the rows that `early_stopping` holds out.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay rates of Adam's moving averages of the gradient and of its square.
    epsilon : float, default=1e-8
        Added to the divisor of Adam, AdamW and RMSprop.
    n_iter_no_change : int or inf, default=10
        Training ends after more consecutive epochs than this without improvement.
    max_fun : int, default=15000
        Maximum number of evaluations of the loss by "lbfgs".
    keep_optimizer : bool, default=False
        Whether a warm start also keeps the optimizer's state: its moments if it is of the same
        kind, and its rate if `learning_rate_init` and `learning_rate` are the same. (In
        scikit-learn, and here by default, only `partial_fit` does.)
    n_threads : int or None, default=None
        Threads to compute with; None decides by the amount of work. The result is the same, bit
        for bit.
    callback : callable or None, default=None
        Called after each epoch (or iteration) with an
        :class:`~fastbp.training.callbacks.EpochState`: ``epoch``, ``loss``, ``validation_loss``,
        and read-only ``weights`` and ``biases``. Returning True stops the training.
    progress : bool or "always", default=False
        True shows a bar in a terminal or a notebook, "always" everywhere. Not for "lbfgs".

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_inputs, n_outputs)
        The weights of each layer: float32 if the features of the fit that began them are, else
        float64. They can be set: predictions follow, and `partial_fit` or a warm start continues
        from them.
    intercepts_ : list of ndarray of shape (n_outputs,)
        The biases, likewise.
    loss_ : float
        The loss of the last epoch.
    loss_curve_ : list of float
        The loss of each epoch: the mean over its batches, each taken before its update. Like the
        next five, for the stochastic solvers only.
    best_loss_ : float or None
        The lowest of them; None with `early_stopping`.
    validation_loss_curve_ : list of float
        The loss on held-out or given validation rows after each epoch, without penalty; NaN for
        an epoch without such rows, empty if there have never been any.
    validation_scores_ : list of float or None
        With `early_stopping`, the R**2 on those rows after each epoch.
    best_validation_score_ : float or None
        The best of them.
    t_ : int
        The number of samples seen.
    n_iter_ : int
        Epochs, or iterations, of the last fit.
    stopped_ : str
        Why training ended: "epochs", "tol", "callback", "interrupted" or "diverged"; with "lbfgs"
        also "max_fun" or "line search".
    n_layers_, n_outputs_ : int
        The number of layers, including the input layer, and of outputs.
    out_activation_ : str
        Activation of the output: "identity", "exp" with "poisson", or the one that the loss needs.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        If all features have names that are strings.

    Warns
    -----
    ConvergenceWarning
        If training reaches `max_iter`.
    UserWarning
        After Ctrl-C, which ends a stochastic solver: the parameters hold every completed update.
        ("lbfgs" raises; the parameters are those of its last iteration.)

    See Also
    --------
    MLPClassifier : Classes instead of numbers.
    NeuronRegressor : A single layer, also for rows in files.
    fastbp.fit_network : The array interface.

    Notes
    -----
    In addition to the notes of :class:`MLPClassifier`: with "lbfgs" there is no `partial_fit`,
    where scikit-learn's runs a whole fit; negative targets of "poisson" are refused.
    "squared_error" is reported as scikit-learn does, as the mean over the outputs, while their sum
    is minimized.

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
        "loss": [StrOptions(set(KNOWN))],
    }

    def __init__(
        self,
        loss: Literal["squared_error", "poisson", LossName] = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: HiddenName = "relu",
        *,
        solver: OptimizerName = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: Literal["constant", "invscaling", "adaptive"] = "constant",
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
        progress: bool | Literal["always"] = False,
    ) -> None:
        self._set_parameters(locals())

    @available_if(lambda estimator: estimator._is_stochastic())  # type: ignore[untyped-decorator]
    @fit_method
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Train for one epoch, continuing with parameters and optimizer.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
        X_val, y_val : array-like, default=None
            Validation data. `early_stopping` needs it here: once more than `n_iter_no_change`
            consecutive calls have not raised the score on it by `tol`, the parameters with the best
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
