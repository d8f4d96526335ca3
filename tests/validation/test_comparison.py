"""What is said of two arrays, held against the same said slowly, number by number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from exporter.results import Status, Tolerance
from exporter.runner import Array
from exporter.validation import comparison
from exporter.validation.budget import LARGEST, distance, magnitude
from exporter.validation.comparison import Expectation, compare

SHAPE = (3, 5)
NUMBERS = st.one_of(
    st.floats(-1e3, 1e3, width=32),
    st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, -3.3999999521443642e38, 3.3999999521443642e38]),
)
FLOATS = arrays.arrays(np.float32, SHAPE, elements=NUMBERS)
COUNTS = st.one_of(arrays.arrays(np.bool_, SHAPE), st.just(np.ones(SHAPE, bool)))


def expectation(reference: Array, counts: Array, atol: float, rtol: float = 0.0) -> Expectation:
    tolerance = Tolerance(atol=atol, rtol=rtol, source="manifest", reason="a test", floor=1e-7)
    return Expectation("logits", reference, counts, tolerance, str(reference.dtype))


def apart(wanted: float, given: float) -> float:
    """Stand-ins for infinity of one sign are the same, whatever their size."""
    if wanted == given or (abs(wanted) > LARGEST and abs(given) > LARGEST and (wanted > 0) is (given > 0)):
        return 0.0
    return abs(wanted - given)


@pytest.mark.parametrize("block", [4, 2**15])
@given(reference=FLOATS, noise=st.floats(0, 1e-3), other=FLOATS, mixed=COUNTS, counts=COUNTS)
def test_nothing_is_said_that_is_not_so(
    block: int, reference: Array, noise: float, other: Array, mixed: Array, counts: Array
) -> None:
    actual = np.where(mixed, other, reference + np.float32(noise))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "_BLOCK", block)
        said = compare(expectation(reference, counts, 1e-4, 1e-5), actual)
    errors = {
        place: apart(float(reference[place]), float(actual[place])) for place in np.ndindex(SHAPE) if counts[place]
    }

    def allowed(place: tuple[int, ...]) -> float:
        wanted = abs(float(reference[place]))
        return 1e-4 + (1e-5 * wanted if math.isfinite(wanted) else 0.0)

    wrong = [place for place, error in errors.items() if not error <= allowed(place)]
    assert said.status is (Status.FAILED if wrong else Status.PASSED)
    if not errors:
        return
    assert said.max_abs is not None
    assert math.isnan(said.max_abs) == any(math.isnan(error) for error in errors.values())
    if not math.isnan(said.max_abs):
        assert said.max_abs == max(errors.values())
    if wrong:
        assert tuple(said.worst_index) in wrong


@given(values=FLOATS, counts=COUNTS)
def test_the_largest_value_is_the_largest_that_counts_and_is_a_number(values: Array, counts: Array) -> None:
    sizes = [abs(float(each)) for each, counted in zip(values.flat, counts.flat, strict=True) if counted]
    assert magnitude(values, counts) == max((each for each in sizes if each < LARGEST), default=0.0)


@given(first=FLOATS, second=FLOATS, counts=COUNTS)
def test_the_distance_is_that_of_numbers_that_count(first: Array, second: Array, counts: Array) -> None:
    pairs = [
        (float(one), float(two))
        for one, two, counted in zip(first.flat, second.flat, counts.flat, strict=True)
        if counted and abs(one) < LARGEST and abs(two) < LARGEST
    ]
    assert distance(first, second, counts) == max((abs(one - two) for one, two in pairs), default=0.0)


@pytest.mark.parametrize("reference", [np.array([[1, 2], [3, 4]]), np.array([[True, False], [True, True]])])
def test_whole_numbers_and_truth_values_are_right_or_wrong(reference: Array) -> None:
    counts = np.ones(reference.shape, bool)
    assert compare(expectation(reference, counts, 10.0), reference.copy()).status is Status.PASSED
    actual = reference.copy()
    actual[1, 0] = 0
    said = compare(expectation(reference, counts, 10.0), actual)
    assert (said.status, said.worst_index) == (Status.FAILED, (1, 0))
