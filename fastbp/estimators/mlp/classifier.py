"""scikit-learn's classifier, by fastbp's kernels: a drop-in."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels

from fastbp.arguments import names_in_docs
from fastbp.estimators.base import Scores
from fastbp.estimators.mlp.base import BaseMLP
from fastbp.estimators.mlp.targets import Classes
from fastbp.estimators.names import HIDDEN, HiddenName
from fastbp.estimators.scikit_learn import StrOptions, check_partial_fit_first_call, fit_method
from fastbp.models.losses import LOSSES, LossName
from fastbp.training.optimizers import OPTIMIZERS, OptimizerName


@names_in_docs(activations=HIDDEN, solvers=OPTIMIZERS, losses=["log_loss", *LOSSES])
class MLPClassifier(Scores, ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """A multi-layer perceptron for classes: scikit-learn's, several times as fast.

    A drop-in for scikit-learn's class of this name, of release 1.5 or newer: the same parameters,
    attributes, methods, warnings and errors, the same initial parameters and shuffles from the same
    `random_state`, and the same losses and predictions but for rounding. The notes say what it
    adds, and where it differs.

    Parameters
    ----------
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
        The fraction of the rows that `early_stopping` holds out, stratified where there
        are two classes.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay rates of Adam's moving averages of the gradient and of its square.
    epsilon : float, default=1e-8
        Added to the divisor of Adam, AdamW and RMSprop.
    n_iter_no_change : int or inf, default=10
        Training ends after more consecutive epochs than this without improvement.
    max_fun : int, default=15000
        Maximum number of evaluations of the loss by "lbfgs".
    class_weight : dict, list of dict, "balanced" or None, default=None
        Multiplies the sample weights of each class; "balanced" makes the sums of all classes
        equal. With several labels per row (multilabel), a dict for each. It counts in the score on
        the rows that `early_stopping` holds out as well.
    loss : {losses}, default="log_loss"
        "log_loss" is scikit-learn's: cross-entropy of a softmax for more than two classes, binary
        cross-entropy of a sigmoid for two, or for several labels per row (multilabel). The others
        are those of :func:`fastbp.fit_network`, and reported as it reports them, log losses never
        clipped: "cross_entropy" is the first of the two; the others are applied to sigmoid outputs,
        one-vs-rest if there are more than two classes.
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
    classes_ : ndarray of shape (n_classes,)
        The classes.
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
        With `early_stopping`, the accuracy on those rows after each epoch.
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
        Activation of the output: "softmax" or "logistic".
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
    MLPRegressor : Numbers instead of classes.
    NeuronClassifier : A single layer, also for rows in files.
    fastbp.fit_network : The array interface.

    Notes
    -----
    Added to scikit-learn's class:

    - `class_weight`, `loss`, `keep_optimizer`, `n_threads`, `callback`, `progress`,
      ``validation_loss_curve_`` and ``stopped_``; scikit-learn's own callbacks, by
      ``set_callbacks``, where its release has them (1.9).
    - `X_val` and `y_val` of :meth:`fit` and :meth:`partial_fit`, which allow early stopping in a
      loop of your own (see the examples).
    - The solvers "adamw" and "rmsprop", and the activations "softplus", "leaky_relu", "elu", "silu"
      and "gelu".
    - :meth:`from_sklearn`, :meth:`from_torch` and :meth:`to_torch`.
    - :func:`fastbp.save` and :func:`fastbp.load`: files without pickle, from which `partial_fit`
      continues. They take the estimator itself, not a pipeline.

    It passes scikit-learn's estimator checks, and works in its pipelines, searches and worker
    processes. Sparse rows stay sparse. Layers of a thousand neurons take about as long as in
    scikit-learn, as does "lbfgs" on tiny data, and predicting a single row with such layers takes
    twice as long. The first fit compiles; ``fastbp.warmup("fit_network", "predict_network")`` does
    that beforehand but for sparse rows, with ``dtype="float32"`` for features of float32.

    Features of float32 are computed with in float32, as in scikit-learn, all others in float64.
    Parameters, moments and predictions are then float32, with 7 digits instead of 16, and take half
    the memory; wide layers take half the time. Losses are summed up in float64, and a log loss is
    clipped at the epsilon of float32, 1.2e-7. A model stays in the dtype of ``coefs_``, in which
    ``partial_fit`` and warm starts compute, whatever the features are; what is predicted for
    float64 features is float64.

    Differences from scikit-learn's class, rounding aside:

    - Training ends as soon as the loss or a parameter is not finite, without NumPy's warnings on
      the way: with scikit-learn's `ValueError` and the parameters from before that epoch, or with
      `early_stopping` the best ones and a `ConvergenceWarning`.
    - Negative sample weights raise a `ValueError`. A batch whose weights sum to 0 changes nothing
      (`ZeroDivisionError` in scikit-learn); held-out rows that all weigh 0 are refused. A `fit`
      that is refused leaves the model as it was.
    - With "lbfgs", too, ``coefs_`` are float32 where they are computed with in float32; in
      scikit-learn they are float64.
    - Targets and weights that float32 cannot hold are refused if it is to compute with them.
    - :meth:`predict_log_proba` stays finite where a probability underflows.
    - A warm start with `early_stopping` keeps the best parameters even if no later epoch is
      better; scikit-learn then has the last ones.
    - `verbose` with "lbfgs" prints one line per iteration, not what SciPy prints.
    - ``_optimizer`` holds the learning rate (Adam's without bias correction) but not the lists of
      moments.
    - It is no subclass of scikit-learn's: `isinstance` tells them apart.

    As in scikit-learn, with sample weights an epoch's loss averages the batches by their number of
    rows.

    Examples
    --------
    >>> from fastbp import MLPClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(solver="lbfgs", max_iter=1000, random_state=0)
    >>> model.fit(X, y).predict(X[::50])
    array([0, 1, 2])
    >>> bool(model.score(X, y) > 0.95)
    True

    Early stopping in a loop of your own restores the best parameters:

    >>> model = MLPClassifier(early_stopping=True, learning_rate_init=0.01, random_state=0)
    >>> for _ in range(500):
    ...     _ = model.partial_fit(X[::2], y[::2], classes=[0, 1, 2], X_val=X[1::2], y_val=y[1::2])
    ...     if model.stopped_ == "tol":
    ...         break
    >>> model.score(X[1::2], y[1::2]) == model.best_validation_score_
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "loss": [StrOptions({"log_loss", *LOSSES})],
    }

    def __init__(
        self,
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
        class_weight: dict[Any, float] | list[Any] | Literal["balanced"] | None = None,
        loss: Literal["log_loss", LossName] = "log_loss",
        keep_optimizer: bool = False,
        n_threads: int | None = None,
        callback: Any = None,
        progress: bool | Literal["always"] = False,
    ) -> None:
        self._set_parameters(locals())

    @available_if(lambda estimator: estimator._is_stochastic())  # type: ignore[untyped-decorator]
    @fit_method
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Self:
        """Train for one epoch, continuing with parameters and optimizer.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
        classes : array-like of shape (n_classes,), default=None
            All classes there will be: needed in the first call.
        X_val, y_val : array-like, default=None
            Validation data. `early_stopping` needs it here: once more than `n_iter_no_change`
            consecutive calls have not raised the score on it by `tol`, the parameters with the best
            one are restored, and ``stopped_`` is ``'tol'``.

        Returns
        -------
        self : object
        """
        before = dict(vars(self))
        if check_partial_fit_first_call(self, classes):
            several = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if several else classes)
        return self._fit(X, y, sample_weight, X_val, y_val, incremental=True, before=before)

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,), or (n_samples, n_classes) for several labels
        """
        outputs = self._outputs(X)  # which checks that it is fitted
        return self._known.predicted(outputs)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, in the order of ``classes_``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            Rows sum to 1, except with several labels. One-vs-rest outputs are divided by their sum.
        """
        outputs = self._outputs(X)
        if self.n_outputs_ == 1:
            return np.concatenate([1 - outputs, outputs], axis=1)
        if self._one_vs_rest:
            outputs /= outputs.sum(axis=1, keepdims=True)
        return outputs

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of the probability of each class.

        Finite even where the probability itself underflows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        log_probability : ndarray of shape (n_samples, n_classes)
        """
        probability = self.predict_proba(X)
        lost = probability < np.finfo(probability.dtype).tiny
        with np.errstate(divide="ignore"):
            logs: np.ndarray = np.log(probability)
        if lost.any():
            logs[lost] = self._logs_from_z(X)[lost]
        return logs

    def _logs_from_z(self, X: Any) -> np.ndarray:
        z = self._outputs(X, "identity").astype(np.float64, copy=False)
        if self.out_activation_ == "softmax":
            return np.asarray(log_softmax(z, axis=1))
        if self.n_outputs_ == 1:
            z = np.concatenate([-z, z], axis=1)
        logs = -np.logaddexp(0.0, -z)
        if self._one_vs_rest:
            logs -= np.logaddexp.reduce(logs, axis=1, keepdims=True)
        return logs

    # --- classes ---------------------------------------------------------------------------

    def _targets(self, y: Any, incremental: bool) -> Classes:
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            return self._know(LabelBinarizer().fit(y))
        if incremental and not self.warm_start and (known := self._known).include(y):
            return known
        classes = unique_labels(y)
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous"
                    f" call to fit. Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}."
                f" 'y' has {classes}."
            )
        return self._known

    def _know(self, binarizer: LabelBinarizer) -> Classes:
        self._label_binarizer, self.classes_ = binarizer, binarizer.classes_
        return self._known

    @property
    def _known(self) -> Classes:
        return Classes(self._label_binarizer, self.loss, self.class_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _more_tags(self) -> dict[str, Any]:  # before scikit-learn 1.6
        return {"multilabel": True}
