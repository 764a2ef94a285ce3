"""Intervals against scipy's own."""

import pytest
from scipy.stats import ttest_1samp, ttest_ind

from resnet_repro.paper.estimates import contrast, in_words

A, B = (8.6, 8.8, 8.75, 8.9), (9.4, 9.9, 9.1)


def test_a_difference_has_welchs_interval() -> None:
    ours = contrast([(1, B), (-1, A)])
    theirs = ttest_ind(B, A, equal_var=False).confidence_interval(0.95)
    assert ours.low == pytest.approx(theirs.low)
    assert ours.high == pytest.approx(theirs.high)


def test_one_mean_against_a_number_has_students_interval() -> None:
    ours = contrast([(1, A)], offset=-8.5)
    theirs = ttest_1samp(A, 8.5).confidence_interval(0.95)
    assert ours.low == pytest.approx(theirs.low - 8.5)


def test_one_seed_has_no_interval() -> None:
    estimate = contrast([(1, [3.0]), (-1, A)])
    assert estimate.value == pytest.approx(3.0 - sum(A) / 4)
    assert estimate.low is None
    assert (estimate.least, estimate.most) == (3.0 - max(A), 3.0 - min(A))


def test_identical_seeds_have_an_interval_without_width() -> None:
    estimate = contrast([(1, [3.0, 3.0]), (-1, [2.0, 2.0])])
    assert (estimate.low, estimate.value, estimate.high) == (1.0, 1.0, 1.0)


def test_no_seeds_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="without values"):
        contrast([(1, [])])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([8.614], "8.61 (1 seed)"),
        ([0.0], "0.00 (1 seed)"),
        ([2e-16], "0.00 (1 seed)"),
        ([0.00651], "0.0065 (1 seed)"),
        ([8.0, 8.001], "8.00 ± 0.00 (2 seeds)"),
        ([0.004, 0.005], "0.0045 ± 0.00071 (2 seeds)"),
    ],
)
def test_small_numbers_keep_two_digits(values: list[float], text: str) -> None:
    assert in_words(values) == text
    assert str(contrast([(1, [0.0032]), (-1, [0.0065])])) == "-0.0033"
