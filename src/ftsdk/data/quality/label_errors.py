"""Labels that are probably wrong: a classifier that hasn't seen a row finds its label implausible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from ftsdk.errors import MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LabelIssue", "label_issues"]

_FOLDS = 3
_MANY_ROWS = 5_000
"""From here on two folds are enough, which takes half the time."""
_FEWEST_PER_CLASS = _FOLDS
_WRONG = 0.6
"""Probability above which a label is called wrong."""
_OF_CENTROIDS = 0.2
"""Weight of the similarity to the rest of each class beside the classifier's score."""
_FITTED_ROWS = 4_000
"""Rows to which temperature and noise are fitted, evenly spread; all others have the same two."""
_MUCH_NOISE = 0.1
"""Share of wrong labels above which the labels themselves must show it, by `_LEAST_GAIN`."""
_LEAST_GAIN = 3.0
"""By how much wrong labels must raise the log-likelihood of all labels: these are 20 times as likely with them."""
_LIBLINEAR = Lock()
"""liblinear draws from one generator per process, so two trainings at the same time would disturb each other."""


class LabelIssue(NamedTuple):
    """A label that is probably wrong."""

    position: int
    label: str
    suggested: str
    """The most plausible label."""
    probability: float
    """Of the label being wrong, from 0.6 to 1, if wrong labels are drawn at random."""


def label_issues(texts: Sequence[str], labels: Sequence[str], seed: int = 0) -> list[LabelIssue]:
    """Return the labels that are probably wrong, the surest first.

    A linear classifier on words, word pairs and groups of four letters scores each row in the fold that it wasn't
    trained on; how similar the row is to the rest of each class is added. A temperature and the share of wrong labels
    are then fitted to these scores together, and give each label its probability of being wrong. With 5% of CLINC150's
    15,000 labels (150 classes) replaced at random, 93% of these are found, and 91% of what is found is one of them.

    Labels with fewer than three examples are left out: nothing can be learned about them. Where the classifier learns
    too little to tell wrong labels from hard ones, as with 48 rows of eight classes, there are no issues.

    Args:
        texts: What the labels are about.
        labels: The label of each text.
        seed: Decides the folds.

    Raises:
        MissingExtraError: scikit-learn isn't installed.
        ValueError: There isn't one label per text.
    """
    if len(texts) != len(labels):
        raise ValueError(f"there are {len(labels):,} labels for {len(texts):,} texts; pass one per text")
    counts = Counter(labels)
    classes = sorted(label for label, count in counts.items() if count >= _FEWEST_PER_CLASS)
    index = {label: number for number, label in enumerate(classes)}
    rows = [position for position, label in enumerate(labels) if label in index]
    if len(classes) < 2:
        return []
    import numpy as np

    given = np.array([index[labels[position]] for position in rows])
    scores = _held_out_scores([texts[position] for position in rows], given, len(classes), seed)
    if scores is None:
        return []
    wrong, best = _probabilities_of_error(scores, given)
    issues = [
        LabelIssue(rows[n], classes[given[n]], classes[best[n]], float(wrong[n]))
        for n in np.flatnonzero((wrong > _WRONG) & (best != given)).tolist()
    ]
    return sorted(issues, key=lambda issue: (-issue.probability, issue.position))


def _held_out_scores(texts: list[str], given: NDArray[np.int64], classes: int, seed: int) -> NDArray[np.float64] | None:
    """Return the score of each row for each class by a classifier that was trained on the other folds."""
    try:
        import scipy.sparse
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.model_selection import StratifiedKFold
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise MissingExtraError("data", needed_for="finding label errors", missing=error.name) from error
    import numpy as np

    def features(**options: Any) -> Any:
        fewest = 2 if len(texts) > 1_000 else 1
        return TfidfVectorizer(sublinear_tf=True, min_df=fewest, dtype=np.float64, **options).fit_transform(texts)

    try:
        options = ({"ngram_range": (1, 2)}, {"analyzer": "char_wb", "ngram_range": (4, 4)})
        table: Any = scipy.sparse.hstack([features(**one) for one in options], format="csr")
    except ValueError:  # no words at all
        return None
    count = _FOLDS if len(texts) < _MANY_ROWS else 2
    folds = StratifiedKFold(count, shuffle=True, random_state=seed).split(table, given)

    def held_out(fold: tuple[Any, Any]) -> tuple[Any, Any]:
        train, test = fold
        model = LinearSVC(C=0.3, tol=0.5, random_state=seed).fit(table[train], given[train])
        found = model.decision_function(table[test])
        return test, found if found.ndim > 1 else np.stack([-found, found], axis=1)

    scores = _OF_CENTROIDS * _similarity_to_the_rest(table, given, classes)
    for fold in folds:
        with _LIBLINEAR:
            test, found = held_out(fold)
        scores[test] += found
    return scores


def _similarity_to_the_rest(table: Any, given: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Return how similar each row is to each class, shape (N, classes), without itself."""
    import numpy as np
    import scipy.sparse

    rows = np.arange(len(given))
    members = scipy.sparse.csr_matrix((np.ones(len(given)), (rows, given)), shape=(len(given), classes))
    found = np.asarray(table @ (table.T @ members).toarray())
    found[rows, given] -= np.asarray(table.multiply(table).sum(axis=1)).ravel()
    sizes = np.tile(np.bincount(given, minlength=classes).astype(float), (len(given), 1))
    sizes[rows, given] -= 1
    return found / np.sqrt(sizes)


def _probabilities_of_error(
    scores: NDArray[np.float64], given: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the probability that each given label is wrong, and the most plausible label.

    The model: with probability `noise` a label is drawn at random, else it follows softmax(temperature * score). Both
    are fitted by maximum likelihood, so a dataset without wrong labels has few issues and one with many has many. Much
    noise that explains the labels no better than none at all is none.
    """
    import numpy as np
    from scipy.optimize import minimize, minimize_scalar
    from scipy.special import expit, logsumexp

    classes = scores.shape[1]
    picked = np.unique(np.linspace(0, len(given) - 1, min(len(given), _FITTED_ROWS)).astype(np.int64))

    def parts(values: Any, scores: Any, given: Any) -> tuple[Any, Any]:
        temperature, noise = np.exp(values[0]), expit(values[1])
        own = scores[np.arange(len(given)), given]
        plausible = np.exp(temperature * own - logsumexp(temperature * scores, axis=1))
        return (1 - noise) * plausible, noise / classes

    few_scores, few_given = scores[picked], given[picked]

    def loss(values: Any) -> float:
        right, wrong = parts(values, few_scores, few_given)
        return -float(np.log(right + wrong).mean())

    # Starts at a temperature of 5 and 5% of wrong labels.
    found = minimize(loss, [np.log(5.0), -3.0], method="Nelder-Mead", options={"xatol": 0.05, "fatol": 1e-5})
    if expit(found.x[1]) > _MUCH_NOISE:
        own = few_scores[np.arange(len(few_given)), few_given]

        def loss_without_noise(log_temperature: float) -> float:
            temperature = np.exp(log_temperature)
            return float((logsumexp(temperature * few_scores, axis=1) - temperature * own).mean())

        without = minimize_scalar(loss_without_noise, bounds=(-10, 5), method="bounded")
        if (float(without.fun) - float(found.fun)) * len(few_given) < _LEAST_GAIN:
            return np.zeros(len(given)), scores.argmax(axis=1)
    right, wrong = parts(found.x, scores, given)
    return wrong / (right + wrong), scores.argmax(axis=1)
