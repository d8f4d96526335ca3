"""The number that was meant: simple ones are found again, wrong ones are not mended."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.onnx.scalars import meant, meant_in_half


def stored(number: float) -> float:
    return float(np.float32(number))


@pytest.mark.parametrize(
    "number",
    [
        *(0.0, 1.0, -1.0, 0.5, 1e-12, 1e-5, 1e-6, 0.044715, 1.702, 10000.0, -10000.0, 3.4e38),
        *(math.sqrt(2), math.sqrt(0.5), math.sqrt(2 / math.pi), 64**-0.5, 8**-0.25, 1 / 3, math.log(8), math.pi),
        *(math.log(65 / 4), math.log(511 / 128)),
    ],
)
def test_a_simple_number_is_found_again(number: float) -> None:
    found = meant(stored(number))
    assert found is not None
    assert math.isclose(found, number, rel_tol=1e-15, abs_tol=0)


@given(st.floats(width=32, allow_nan=False))
def test_what_is_found_is_stored_as_the_same_float(number: float) -> None:
    found = meant(number)
    if found is not None:
        assert np.float32(found) == np.float32(number)
        assert math.copysign(1, found) == math.copysign(1, number)


@given(st.integers(1, 2000), st.sampled_from([1e-4, 1e-5, 1e-6]))
def test_a_number_that_is_off_stays_off(whole: int, share: float) -> None:
    wrong = math.sqrt(whole) * (1 + share)
    found = meant(stored(wrong))
    assert found is None or not math.isclose(found, math.sqrt(whole), rel_tol=share / 10)


def test_stand_ins_for_infinity_stay_what_they_are() -> None:
    for number in (float(np.finfo(np.float32).min), math.inf, -math.inf):
        assert meant(number) == number


@pytest.mark.parametrize(
    "number",
    [
        0.0,
        0.5,
        -1.0,
        0.1,
        1e-6,
        0.044715,
        1.702,
        -65504.0,
        math.sqrt(2),
        math.sqrt(2 / math.pi),
        8**-0.25,
        math.log(16),
        math.sqrt(32),
        5 / 32,
    ],
)
def test_a_simple_number_is_found_again_in_half_precision(number: float) -> None:
    found = meant_in_half(float(np.float16(number)), np.float16, 10)
    assert math.isclose(found, number, rel_tol=1e-15, abs_tol=0)


@given(st.floats(width=16, allow_nan=False))
def test_what_is_found_is_stored_as_the_same_half(number: float) -> None:
    assert float(np.float16(meant_in_half(number, np.float16, 10))) == number


def test_any_other_number_in_half_precision_is_the_shortest_decimal() -> None:
    assert meant_in_half(float(np.float16(0.0123)), np.float16, 10) == 0.0123
    assert meant_in_half(float(np.float16(-1.002)), np.float16, 10) == -1.002
