"""Both sides show every label, duplicates stay together, and rebalancing is what it says. For any rows."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.data.strata import MOST_REPEATS, choose_share, equal_shares, weights_of

ROWS = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abcd")), min_size=4, max_size=120)


@given(ROWS, st.floats(0.05, 0.5))
@settings(max_examples=150, deadline=None)
def test_every_label_with_two_texts_is_on_both_sides(rows: list[tuple[int, str]], share: float) -> None:
    home: dict[int, str] = {}
    for group, label in rows:
        home.setdefault(group, label)
    groups, strata = [group for group, _ in rows], [label for _, label in rows]
    held = choose_share(groups, strata, share)
    for label in set(home.values()):
        mine = {group for group in home if home[group] == label}
        assert (bool(mine & held), bool(mine - held)) == (len(mine) > 1, True)


def test_share_is_about_what_was_asked_for() -> None:
    groups, strata = list(range(1000)), ["a" if n % 10 else "b" for n in range(1000)]
    held = choose_share(groups, strata, 0.3)
    assert Counter(strata[group] for group in held) == {"a": 270, "b": 30}


@given(st.lists(st.sampled_from("aaaaaaaabbc"), min_size=1, max_size=300))
@settings(max_examples=100, deadline=None)
def test_equal_shares(strata: list[str]) -> None:
    times = equal_shares(strata)
    counts = Counter(strata)
    target = max(1, round(len(strata) / len(counts)))
    got = {label: sum(t for t, s in zip(times, strata, strict=True) if s == label) for label in counts}
    assert got == {label: min(target, MOST_REPEATS * rows) for label, rows in counts.items()}
    for label in counts:  # no row of a label occurs more than once more often than another
        own = [t for t, s in zip(times, strata, strict=True) if s == label]
        assert max(own) - min(own) <= 1


def test_weights_even_out_what_labels_count_for() -> None:
    strata = ["a"] * 80 + ["b"] * 20
    weights = weights_of(strata)
    assert abs(sum(weights) / 100 - 1) < 0.001
    assert abs(sum(weights[:80]) - sum(weights[80:])) < 0.01
    assert min(weights_of(["a"] * 5000 + ["b"])) > 0
