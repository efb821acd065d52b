"""Every score of labels, recomputed with scikit-learn."""

import random
from typing import Any

import pytest
import sklearn.metrics
from sklearn.preprocessing import MultiLabelBinarizer

from runner.scoring.answers import Matcher, choose
from runner.scoring.label_winner import Entry, choose_candidate, strongest
from runner.scoring.labels import score_labels

METRICS: Any = sklearn.metrics
"""Its stubs know less than it does."""
LABELS = ["a", "b", "c", "d", "never"]


def drawn(seed: int, rows: int, multi: bool) -> tuple[list[list[str]], list[list[str]]]:
    rng = random.Random(seed)

    def one() -> list[str]:
        return rng.sample(LABELS[:4], rng.randint(1, 3) if multi else 1)

    truth = [one() for _ in range(rows)]
    return truth, [real if rng.random() < 0.6 else ([] if rng.random() < 0.2 else one()) for real in truth]


@pytest.mark.parametrize("seed", range(5))
def test_one_label_per_row(seed: int) -> None:
    truth, predicted = drawn(seed, 120, multi=False)
    scores = score_labels(truth, predicted, LABELS, multi=False)
    real, said = [row[0] for row in truth], [row[0] if row else "-" for row in predicted]
    assert scores["accuracy"].mean == pytest.approx(METRICS.accuracy_score(real, said))
    present = [label for label in LABELS if label in real]
    macro = METRICS.f1_score(real, said, labels=present, average="macro", zero_division=0)
    assert scores["macroF1"].mean == pytest.approx(macro)
    assert scores["unmatched"] == said.count("-")
    per_label = METRICS.precision_recall_fscore_support(real, said, labels=present, zero_division=0)
    for at, row in enumerate(scores["perLabel"]):
        found = [row["precision"].mean, row["recall"].mean, row["f1"], row["rows"]]
        assert found == pytest.approx([column[at] for column in per_label])
    matrix = METRICS.confusion_matrix(real, said, labels=[*present, "-"])
    cells = {(a, b or "-"): n for a, b, n in scores["confusion"]}
    assert all(
        matrix[i][j] == cells.get((a, b), 0) for i, a in enumerate(present) for j, b in enumerate([*present, "-"])
    )


@pytest.mark.parametrize("seed", range(5))
def test_several_labels_per_row(seed: int) -> None:
    truth, predicted = drawn(seed, 120, multi=True)
    scores = score_labels(truth, predicted, LABELS, multi=True)
    binarizer: Any = MultiLabelBinarizer(classes=LABELS[:4])
    real = binarizer.fit_transform(truth)
    said = binarizer.transform(predicted)
    assert scores["accuracy"].mean == pytest.approx(METRICS.accuracy_score(real, said))
    assert scores["microF1"].mean == pytest.approx(METRICS.f1_score(real, said, average="micro"))
    assert scores["macroF1"].mean == pytest.approx(METRICS.f1_score(real, said, average="macro", zero_division=0))
    assert scores["jaccard"].mean == pytest.approx(
        METRICS.jaccard_score(real, said, average="samples", zero_division=0)
    )
    assert "confusion" not in scores


def test_intervals_hold_their_value_and_do_not_change() -> None:
    truth, predicted = drawn(1, 80, multi=False)
    scores = score_labels(truth, predicted, LABELS, multi=False)
    for name in ("accuracy", "macroF1"):
        value = scores[name]
        assert value.low < value.mean < value.high
    assert scores == score_labels(truth, predicted, LABELS, multi=False)


def test_macro_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Drawn from a known confusion, the true macro F1 lies in the interval in about 95 of 100 samples."""
    rng = random.Random(3)

    def sample(rows: int) -> tuple[list[list[str]], list[list[str]]]:
        truth = [rng.choice("abc") for _ in range(rows)]
        return [[t] for t in truth], [[t if rng.random() < 0.7 else rng.choice("abc")] for t in truth]

    covered, known = 0, 0.8  # of each label: right with 0.7 + 0.3 / 3, and as often said as it occurs
    for _ in range(100):
        interval = score_labels(*sample(150), ["a", "b", "c"], multi=False)["macroF1"]
        covered += interval.low <= known <= interval.high
    assert 88 <= covered <= 100


@pytest.mark.parametrize(
    ("answer", "found"),
    [("Card lost", ("card_lost",)), (' "card-lost". ', ("card_lost",)), ("card", ("card",)), ("my card is lost", ()),
     ("", ()), ("card, card_lost", ())],
)  # fmt: skip
def test_free_answers_are_matched_never_guessed(answer: str, found: tuple[str, ...]) -> None:
    assert Matcher(["card", "card_lost"], multi=False).match(answer) == found


def test_labels_that_look_alike_are_matched_exactly() -> None:
    matcher = Matcher(["US", "us"], multi=False)
    assert (matcher.match("US"), matcher.match(" us "), matcher.match("Us")) == (("US",), ("us",), ())


def test_several_free_answers() -> None:
    matcher = Matcher(["a", "b", "c d"], multi=True)
    assert matcher.match("C D, a") == ("a", "c d")
    assert matcher.match("a, x") == ()


def test_choice_is_the_most_likely_and_knows_its_share() -> None:
    place, share = choose([-3.0, -1.0, -1.0 - 0.6931471805599453])
    assert (place, round(share, 3)) == (1, round(1 / (1 + 0.5 + 0.1353352832), 3))
    assert choose([-5000.0, -5001.0]).place == 0


def entry(name: str, right: int, size: float, loss: float | None = None, of: int = 100) -> Entry:
    return Entry(name, [1.0] * right + [0.0] * (of - right), size, loss)


def test_winner_is_the_best_where_the_difference_is_certain() -> None:
    verdict = choose_candidate([entry("c1", 60, 8), entry("c2", 90, 16)], [0.0] * 100)
    assert (verdict.winner, verdict.beats_base) == ("c2", True)


def test_a_tie_goes_to_the_lower_loss_then_to_the_cheaper() -> None:
    verdict = choose_candidate([entry("c1", 89, 8, 0.4), entry("c2", 90, 4, 0.5)], [0.0] * 100)
    assert (verdict.winner, verdict.reason.split(" (")[0]) == ("c1", "a tie with c2")
    assert verdict.reason.endswith("the lower validation loss")
    verdict = choose_candidate([entry("c1", 89, 8, 0.401), entry("c2", 90, 16, 0.4)], [0.0] * 100)
    assert verdict.winner == "c1"
    assert verdict.reason.endswith("the smaller adapter")
    assert choose_candidate([entry("c1", 89, 8), entry("c2", 90, 16, 0.4)], [0.0] * 100).winner == "c1"
    assert choose_candidate([entry("c1", 60, 8, 0.1), entry("c2", 90, 16, 0.4)], [0.0] * 100).winner == "c2"


def test_what_chance_explains_does_not_beat_the_base() -> None:
    base = [1.0] * 89 + [0.0] * 11
    assert choose_candidate([entry("c1", 90, 8)], base).beats_base is False
    assert choose_candidate([entry("c1", 100, 8)], base).beats_base is True


def test_strongest_base_model() -> None:
    assert strongest([entry("x/small", 40, 1), entry("x/large", 80, 2)])[0] == "x/large"
    assert strongest([entry("x/small", 79, 1), entry("x/large", 80, 2)])[0] == "x/small"
