"""One neuron for two classes, several for more, behind scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.special import log_expit, log_softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from fastbp.arguments import DTYPES, names_in_docs
from fastbp.data.classes import check_classes, class_indices, plain_labels, whole_number_classes
from fastbp.data.rows import Rows
from fastbp.data.sources.pieces import Pieces, is_collection
from fastbp.data.sources.relabelled import class_labels, distinct_labels, indices_of_labels
from fastbp.estimators.neuron.base import KNOWN_LOSSES, KnownLoss, Neurons, ScoresRows
from fastbp.estimators.neuron.labels import (
    NOT_CLASSES,
    Coding,
    Prepared,
    Survey,
    coded,
    of_known_classes,
    other_classes,
    survey,
)
from fastbp.estimators.neuron.lazy import takes_collections
from fastbp.estimators.neuron.rows import column_of_labels, labelled
from fastbp.estimators.neuron.solver import SOLVERS, SolverName
from fastbp.estimators.scikit_learn import StrOptions, fit_method
from fastbp.models.activations import ActivationName
from fastbp.training.callbacks import EpochState
from fastbp.training.optimizers import Optimizer

LEAST = {dtype: 2.0**26 * float(np.finfo(dtype).tiny) for dtype in DTYPES.values()}
"""A sum of outputs to divide by: of smaller ones few digits are left."""


@names_in_docs(losses=KNOWN_LOSSES, solvers=SOLVERS)
class NeuronClassifier(ScoresRows, ClassifierMixin, Neurons):  # type: ignore[misc]
    """One sigmoid neuron for two classes; for more, one neuron per class, with softmax.

    With the default loss this is logistic regression, multinomial for more than two classes: the
    coefficients are those of scikit-learn's ``LogisticRegression(C=1/alpha)``, to about three
    digits. By default L-BFGS finds them, with the loss and gradient of all rows for each step:
    there is no rate to choose, features need not be standardized, and all fits to the same rows are
    bit-identical. ``batch_size=100, n_iter_no_change=5`` trains by SGD, which comes close after a
    few passes over many rows of standardized features.

    Parameters
    ----------
    loss : {losses}, default="log_loss"
        "log_loss" is binary cross-entropy for two classes, and cross-entropy of the softmax for
        more. All others train the neurons one-vs-rest (OvR): "bce" is each neuron's binary
        cross-entropy, "squared_error" (also "half_mse") half the squared error of its probability,
        both summed over the neurons; "mse" is the squared error's mean over the neurons.
    solver : {solvers}, or an optimizer, default="auto"
        "auto" is "lbfgs", but "sgd" in ``partial_fit``, and where `batch_size` or
        `learning_rate_init` is given. By name with its defaults ("sgd" with `momentum` and
        `nesterovs_momentum`, "lbfgs" with a memory of 30 steps), or one with values of your own,
        such as ``fastbp.Adam(beta_1=0.8)`` or ``fastbp.LBFGS(gtol=1e-8)``.
    alpha : float, default=0.0001
        Strength of the L2 penalty: alpha/2 times the sum of the squared weights, divided by the
        number of rows of a batch (or the sum of their weights), is added to its loss. Intercepts
        are not penalized. It is 1/C of scikit-learn's ``LogisticRegression``.
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
        Seed or generator for the shuffles.
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
    class_weight : dict, "balanced" or None, default=None
        Multiplies the sample weights of each class; "balanced" makes the sums of all classes
        equal.
    n_threads : int or None, default=None
        None decides by the amount of work.
    callback : callable or None, default=None
        Called after each epoch with an :class:`~fastbp.training.callbacks.EpochState`; returning
        True stops the training. Its ``weights`` and ``bias`` have the shapes (n_features,) and
        (); with several classes there are ``weights`` and ``biases``, lists of one layer.
    verbose : bool or int, default=False
        Whether to print the loss of each epoch.
    progress : bool or "always", default=False
        True shows a bar in a terminal or a notebook, "always" everywhere.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The distinct labels, in order.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        The weights: float32 if the features of the fit that began them are, else float64. They can
        be set, and `intercept_` as well: predictions follow.
    intercept_ : ndarray of shape (1,) or (n_classes,)
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
    NeuronRegressor : One neuron for a number.
    MLPClassifier : Hidden layers as well.
    fastbp.fit_neuron : The array interface.

    Notes
    -----
    X may also be rows of :func:`fastbp.open_rows` or of a virtual data set, in ``fit``,
    ``partial_fit``, ``score`` and all predictions. With ``y=None`` the classes are the distinct
    labels that the rows carry: text or booleans, or numbers, for which one pass finds them. The
    rows are read a block at a time, and no more of them are in memory than
    :func:`fastbp.fit_neuron` says, which also says which arrays, memory maps among them, are read
    in place.

    X, y and sample weights may also be Dask arrays, DataFrames and columns of them. With an active
    client, they are fitted and scored where its workers hold them, as are rows of
    ``open_rows(..., cluster=client)``: only parameters and sums travel. Batches must be whole
    groups there, with ``shuffle=False``. What is predicted for a Dask array or DataFrame is a lazy
    array. Fits have the bits of the same rows in memory, but for the last digits of SGD's automatic
    rate and of balanced weights of classes, where sums of fractions are added up by partition.

    It passes scikit-learn's estimator checks, and works in its pipelines, searches and worker
    processes, with arrays and tables: those tools do not take rows of a source. :func:`fastbp.save`
    keeps all of it, and ``partial_fit`` continues from the file.

    Features of float32 are computed with in float32, all others in float64. Rows of a source are of
    float32 if their ``dtype`` says so: those of a ``.npy`` file that holds it, as those of the same
    array. `coef_`, the optimizer's moments and predictions are then float32, with 7 digits instead
    of 16; rows take half the memory, and large fits half to three quarters of the time; losses are
    summed up in float64. A model stays in the dtype of `coef_`, whatever rows ``partial_fit`` or a
    warm start continue with; what it predicts for rows of float64 is float64.

    The automatic rate of SGD: with s = 1/4 for the log loss of two classes (0.0771 for half the
    squared error), and s = 1/2 for that of more, whose Hessian diag(p) - p p' with respect to the
    pre-activations has the row sums |.| = 2 p (1 - p) <= 1/2, the gradient of all rows is Lipschitz
    with the constant L = s (mean |x|**2 + 1) + alpha/n, and the rate is 1/L. For batches it is
    (1 - momentum)/L, where for single rows L = s (max |x|**2 + 4 mean |x|**2 + 1) + alpha, where
    the 4 mean |x|**2 allow for the noise, and for larger batches L is between the two (Gower et
    al., ICML 2019).

    After Ctrl-C ``fit`` returns what it has, with a warning. If a callback raises, or the
    parameters stop being finite (:class:`fastbp.DivergenceError`), the exception propagates,
    and `coef_`, `intercept_` and `loss_curve_` are those from before.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastbp import NeuronClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), NeuronClassifier()).fit(X, y)
    >>> round(model.score(X, y), 3)
    0.987
    >>> model[-1].coef_.shape
    (3, 4)
    """

    classes_: np.ndarray

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Neurons._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    def __init__(
        self,
        loss: KnownLoss = "log_loss",
        *,
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
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        n_threads: int | None = None,
        callback: Callable[[EpochState], Any] | None = None,
        verbose: bool | int = False,
        progress: bool | Literal["always"] = False,
    ) -> None:
        self._set_parameters(locals())

    @fit_method
    def partial_fit(
        self, X: Any, y: Any = None, classes: Any = None, sample_weight: Any = None
    ) -> NeuronClassifier:
        """Train for one epoch over these rows, and continue where the last call ended.

        The optimizer and the order of rows continue, too: n calls with the same rows are one fit of
        n epochs. `tol` and `warm_start` are ignored.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or Rows
            As for :meth:`fit`.
        y : array-like of shape (n_samples,), or None
            The classes, or None with rows that carry their labels.
        classes : array-like of shape (n_classes,), default=None
            All classes there will be; the first call needs them.
        sample_weight : array-like of shape (n_samples,), default=None
            Not negative.

        Returns
        -------
        self : NeuronClassifier
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight: expected a dict or None with partial_fit, which cannot know how"
                " many rows of each class will come, got 'balanced'"
            )
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    @property
    def _output(self) -> ActivationName:
        n_classes = np.size(vars(self).get("classes_", ()))
        return "softmax" if self.loss == "log_loss" and n_classes > 2 else "sigmoid"

    def _prepared(
        self,
        rows: Rows,
        y: Any,
        weight: Any,
        known: np.ndarray | None,
        dtype: np.dtype[Any],
        lengths: bool,
    ) -> Prepared:
        rows = of_known_classes(rows, known)
        classes, labels, values = self._labels(rows, y, known)
        rows = labelled(rows, labels, weight, dtype)
        found = None
        if values is None or lengths or isinstance(self.class_weight, str):
            found = survey(rows, values, grouped=True, lengths=lengths)
            values = found.labels
        if classes is None:
            classes = np.array(plain_labels(values))
        if known is None and self.warm_start and hasattr(self, "coef_"):
            known = self.classes_
        if classes.size < 2:
            raise ValueError(f"y: expected at least two classes, got one class: {classes[0]}")
        if known is not None and not np.array_equal(known, classes):
            raise other_classes(known, classes)
        self.classes_ = classes
        class_weight, indices = self._class_weights(found), np.arange(float(classes.size))
        n_outputs = 1 if classes.size == 2 else classes.size
        by_index = n_outputs == 1 or self._output == "softmax"
        # Numbers of a .npy file stay in the page cache if they can be taken as they are.
        if not (by_index and class_weight is None and np.array_equal(values, indices)):
            rows = coded(rows, Coding(values, class_weight, by_index))
        factors = np.ones(classes.size) if class_weight is None else class_weight
        return Prepared(rows, n_outputs, found, factors)

    def _labels(
        self, rows: Rows, y: Any, classes: np.ndarray | None
    ) -> tuple[np.ndarray | None, np.ndarray | Pieces | None, np.ndarray | None]:
        """Return the classes, if they are known; labels (N, 1) of y; and what stands for a class.

        The last are the values that the rows' labels have, in order: None if they must be found.
        """
        if is_collection(y):
            read = class_labels("y", y, column_of_labels)
            if classes is None:
                classes = distinct_labels(read)
                check_classes("y", classes, NOT_CLASSES, fewest=1)
                # Two fractions are refused as well, which are no classes.
                fractions = classes[classes % 1 != 0] if classes.dtype.kind == "f" else classes
                check_classification_targets(fractions[:1])
            values = np.arange(float(classes.size))
            return classes, indices_of_labels(read, classes), values
        if y is not None:
            y = y if y.ndim == 1 else column_or_1d(y, warn=True)
            found = whole_number_classes(y) if classes is None else None
            if found is None:
                check_classification_targets(y)
                classes = np.unique(y) if classes is None else classes
                found = classes, class_indices(y, classes, lambda row: ("y", row))
            classes, labels = found[0], found[1].astype(np.float64, copy=False)
            return classes, labels[:, None], np.arange(float(classes.size))
        if rows.n_labels != 1:
            raise ValueError(
                f"{rows.name}: expected one column of labels, the classes, got {rows.n_labels}"
            )
        if rows.classes is not None:  # of which they carry the indices
            return np.array(rows.classes), None, np.arange(float(len(rows.classes)))
        return classes, None, None if classes is None else np.asarray(classes, dtype=np.float64)

    def _class_weights(self, found: Survey | None) -> np.ndarray | None:
        if self.class_weight is None:
            return None
        if isinstance(self.class_weight, dict):
            by_class = self.classes_
            weights = compute_class_weight(self.class_weight, classes=by_class, y=by_class)
            return np.asarray(weights, dtype=np.float64)
        assert found is not None
        sums, balanced = found.weights, np.zeros(self.classes_.size)
        np.divide(sums.sum() / sums.size, sums, out=balanced, where=sums > 0.0)
        return balanced

    @takes_collections
    def decision_function(self, X: Any) -> np.ndarray:
        """Return the pre-activations; for two classes, the log-odds of the second.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or Rows

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        return self._outputs(X, "identity")

    @takes_collections
    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each row: that of the highest score.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or Rows

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        scores = self._outputs(X, "identity")
        numbers = scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0.0).astype(np.intp)
        return self.classes_.take(numbers)

    @takes_collections
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class.

        With more than two they are the softmax, or the sigmoid neurons' outputs scaled to sum to 1.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or Rows

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
        """
        outputs = self._outputs(X, self._output)
        if outputs.ndim == 1:
            return np.column_stack([1.0 - outputs, outputs])
        if self._output == "softmax":
            return outputs
        sums = outputs.sum(axis=1, keepdims=True)
        if sums.min() < LEAST[outputs.dtype]:  # all outputs of a row underflowed
            outputs, sums = np.exp(self.predict_log_proba(X)), 1.0
        outputs /= sums
        return outputs

    @takes_collections
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of the probabilities, which stay finite.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or Rows

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
        """
        scores = self._outputs(X, "identity")
        if scores.ndim == 1:
            return np.column_stack([log_expit(-scores), log_expit(scores)])
        scores = scores if self._output == "softmax" else log_expit(scores)
        return np.asarray(log_softmax(scores, axis=1))
