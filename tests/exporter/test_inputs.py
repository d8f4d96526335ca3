"""Inputs are made from names, sizes and a seed: the same again, within the vocabulary, padded as asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import architectures, inputs
from exporter.architectures import AxisRange, Graph
from exporter.results import ExportError
from tests.architectures import tiny


def whole(model_type: str, feature: str) -> tuple[Graph, Any]:
    config = tiny.config(model_type, feature)
    return architectures.describe(config, feature).whole, config


@pytest.mark.parametrize(
    ("model_type", "feature"),
    [("bert", "default"), ("gpt2", "causal-lm-with-past"), ("detr", "default"), ("whisper", "default-with-past")],
)
def test_the_same_seed_makes_the_same_arrays(model_type: str, feature: str) -> None:
    graph, config = whole(model_type, feature)
    sizes = inputs.trace_sizes(graph)
    first, again = (inputs.make(graph, sizes, config, "right", seed=4) for _ in range(2))
    other = inputs.make(graph, sizes, config, "right", seed=5)

    assert list(first) == list(graph.inputs)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


@given(
    batch=st.integers(1, 5),
    length=st.integers(1, 40),
    mask=st.sampled_from(["ones", "right", "left", "holes", "one-row-masked"]),
    seed=st.integers(0, 1000),
)
def test_ids_are_tokens_and_padding_is_where_the_mask_says(
    batch: int, length: int, mask: inputs.Mask, seed: int
) -> None:
    graph, config = whole("roberta", "default")
    made = inputs.make(graph, {"batch": batch, "sequence": length}, config, mask, seed)
    ids, counts = made["input_ids"], made["attention_mask"]

    assert ids.shape == counts.shape == (batch, length)
    assert ids.min() >= 0
    assert ids.max() < config.vocab_size
    assert ((ids == config.pad_token_id) == (counts == 0)).all()


@given(batch=st.integers(1, 4), length=st.integers(1, 20), mask=st.sampled_from(["ones", "right", "one-row-masked"]))
def test_a_text_for_an_encoder_decoder_ends_once(batch: int, length: int, mask: inputs.Mask) -> None:
    graph, config = whole("bart", "sequence-classification")
    ids = inputs.make(graph, {"batch": batch, "sequence": length}, config, mask)["input_ids"]
    assert ((ids == config.eos_token_id).sum(axis=-1) == 1).all()


@given(batch=st.integers(1, 4), length=st.integers(4, 20), mask=st.sampled_from(["ones", "right", "left"]))
def test_a_pair_has_three_separators(batch: int, length: int, mask: inputs.Mask) -> None:
    graph, config = whole("longformer", "question-answering")
    ids = inputs.make(graph, {"batch": batch, "sequence": length}, config, mask)["input_ids"]
    assert ((ids == config.sep_token_id).sum(axis=-1) == 3).all()


def test_a_sum_of_axes_is_computed() -> None:
    graph, config = whole("gpt2", "causal-lm-with-past")
    made = inputs.make(graph, {"batch": 2, "past_sequence": 5, "sequence": 3}, config, "left")
    assert made["attention_mask"].shape == (2, 8)
    assert made["past_key_values.0.key"].shape == (2, 4, 5, 8)
    assert (made["position_ids"] < 8).all()


def test_boxes_have_their_corners_in_order() -> None:
    graph, config = whole("layoutlm", "default")
    left, top, right, bottom = np.moveaxis(inputs.make(graph, {"batch": 3, "sequence": 9}, config)["bbox"], -1, 0)
    assert (left <= right).all()
    assert (top <= bottom).all()


def test_traced_sizes_differ_and_stay_in_range() -> None:
    graph = Graph(
        "model",
        "model",
        {"a": {0: "batch", 1: "encoder_sequence"}, "b": {1: "decoder_sequence", 2: "height"}},
        {},
        {"decoder_sequence": AxisRange(maximum=4), "height": AxisRange(32, multiple_of=32, usual=224)},
    )
    assert inputs.trace_sizes(graph) == {"batch": 2, "encoder_sequence": 9, "decoder_sequence": 4, "height": 224}


@given(
    st.builds(AxisRange, st.integers(1, 50), st.none() | st.integers(50, 99), st.integers(1, 9)), st.integers(0, 200)
)
def test_the_nearest_size_is_allowed(allowed: AxisRange, wanted: int) -> None:
    size = allowed.nearest(wanted)
    assert size % allowed.multiple_of == 0
    assert allowed.maximum is None or size <= allowed.maximum


def test_an_input_nobody_can_make_is_named() -> None:
    graph = Graph("model", "model", {"past_values": {0: "batch"}}, {})
    with pytest.raises(ExportError, match="'past_values'"):
        inputs.make(graph, {"batch": 2}, None)
