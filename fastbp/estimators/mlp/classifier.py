"""scikit-learn's classifier, by fastbp's kernels: a drop-in."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels

from fastbp.estimators.mlp.base import BaseMLP
from fastbp.estimators.mlp.targets import Classes
from fastbp.estimators.scikit_learn import StrOptions, check_partial_fit_first_call, fit_method
from fastbp.models.losses import LOSSES


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """A multi-layer perceptron that tells classes: scikit-learn's, several times as fast.

    The same parameters, attributes and methods as scikit-learn's class of this name, the same
    start values and orders from the same `random_state`, and the same losses and predictions to
    rounding. What it has beyond: `class_weight`, `loss`, `keep_optimizer`, `n_threads`,
    `callback`, `progress`, ``validation_loss_curve_``, ``stopped_``, and validation data for
    `fit` and `partial_fit`.

    Parameters
    ----------
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
        The part of the rows that `early_stopping` holds out, stratified where there are two
        classes, as in scikit-learn.
    beta_1, beta_2 : float, default=0.9 and 0.999
        How slowly Adam's means of the gradient and of its square forget.
    epsilon : float, default=1e-8
        Added to Adam's divisor.
    n_iter_no_change : int or inf, default=10
        More epochs in a row than this without progress end the training.
    max_fun : int, default=15000
        Evaluations of the loss at most, by L-BFGS.
    class_weight : dict, list of dict, 'balanced' or None, default=None
        Weights of the classes, with which those of the samples are multiplied; 'balanced' makes
        all classes count alike. For several labels a dict for each. They weight the score on rows
        that `early_stopping` holds out, too, as weights of samples do.
    loss : {'log_loss', 'bce', 'cross_entropy', 'mse', 'half_mse'}, default='log_loss'
        'log_loss' is scikit-learn's: cross-entropy of a softmax for more than two classes, binary
        cross-entropy of a sigmoid for two, or for several labels a row. The others are fastbp's
        own (see :func:`fastbp.fit_network`): 'cross_entropy' is the first of these, 'bce' the
        second, where more than two classes are told one against the rest, as with the squared
        errors of sigmoids, 'mse' and 'half_mse'. Their losses are told as the rest of fastbp
        tells them, log losses never clipped.
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
    classes_ : ndarray of shape (n_classes,)
        The classes.
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
        The score on them after each epoch, accuracy, with `early_stopping`.
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
    out_activation_ : {'softmax', 'logistic'}
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
    scikit-learn tells them: log losses are clipped at the machine's epsilon, and the batches of a
    weighted epoch count by their rows.

    See Also
    --------
    MLPRegressor : Numbers instead of classes.
    fastbp.fit_network : The array interface.

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
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "loss": [StrOptions({"log_loss", *LOSSES})],
    }

    def __init__(
        self,
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
        class_weight: Any = None,
        loss: str = "log_loss",
        keep_optimizer: bool = False,
        n_threads: int | None = None,
        callback: Any = None,
        progress: bool | str = False,
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
        """Train for one epoch, going on with parameters and optimizer.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
        classes : array-like of shape (n_classes,), default=None
            All classes there will be: needed in the first call.
        X_val, y_val : array-like, default=None
            Validation data. `early_stopping` needs it here: once more than `n_iter_no_change`
            calls in a row have not raised the score on it by `tol`, the parameters with the best
            one are restored, and ``stopped_`` is ``'tol'``.

        Returns
        -------
        self : object
        """
        if check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            several = type_of_target(y).startswith("multilabel")
            self._label_binarizer.fit(y if several else classes)
        return self._fit(X, y, sample_weight, X_val, y_val, incremental=True)

    def predict(self, X: Any) -> Any:
        """Return the class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,), or (n_samples, n_classes) for several labels
        """
        outputs = self._outputs(X)
        return self._known.predicted(outputs)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, in the order of ``classes_``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            Rows sum to 1, but for several labels. Of one against the rest, the outputs are
            divided by their sum.
        """
        outputs = self._outputs(X)
        if self.n_outputs_ == 1:
            return np.concatenate([1 - outputs, outputs], axis=1)
        if self._one_against_rest:
            outputs /= outputs.sum(axis=1, keepdims=True)
        return outputs

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of the probability of each class.

        Finite also where the probability itself is too small for a number.

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
            logs: np.ndarray = log_softmax(z, axis=1)
            return logs
        if self.n_outputs_ == 1:
            z = np.concatenate([-z, z], axis=1)
        logs = -np.logaddexp(0.0, -z)
        if self._one_against_rest:
            logs -= np.logaddexp.reduce(logs, axis=1, keepdims=True)
        return logs

    # --- classes ---------------------------------------------------------------------------

    def _targets(self, y: Any, incremental: bool) -> Classes:
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            return self._know(LabelBinarizer().fit(y))
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

    @property
    def _one_against_rest(self) -> bool:
        return self._known.many and self.out_activation_ == "logistic"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _more_tags(self) -> dict[str, Any]:  # before scikit-learn 1.6
        return {"multilabel": True}
