"""Judges files with `transformers.onnx.validate_model_outputs`, as ``python -m transformers.onnx`` calls it.

Runs in the environment of `benchmarks/requirements-transformers-onnx.txt`.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from protocol import NotApplicable, serve
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer
from transformers.onnx import FeaturesManager, validate_model_outputs

logging.disable(logging.WARNING)


@functools.cache
def loaded(checkpoint, task):
    """The model and its ONNX configuration."""
    model = FeaturesManager.get_model_from_feature(task, checkpoint, framework="pt")
    _, config = FeaturesManager.check_supported_model_or_raise(model, feature=task)
    return model, config(model.config)


@functools.cache
def preprocessor(checkpoint):
    """What makes the inputs of a checkpoint."""
    if (Path(checkpoint) / "preprocessor_config.json").exists():
        return AutoImageProcessor.from_pretrained(checkpoint)
    return AutoTokenizer.from_pretrained(checkpoint)


def load_model(job):
    return loaded(job["checkpoint"], job["task"])[0]


def judge(job):
    """Raises what the validator raises."""
    if AutoConfig.from_pretrained(job["checkpoint"]).is_encoder_decoder:
        raise NotApplicable("writes an encoder and its decoder as one file, and has no layout for the halves")
    model, config = loaded(job["checkpoint"], job["task"])
    file = with_own_positions(Path(job["file"]), config)
    try:
        validate_model_outputs(
            config, preprocessor(job["checkpoint"]), model, file, list(config.outputs), config.atol_for_validation
        )
    except ValueError as error:
        error.caught = str(error).startswith("Outputs ")
        raise


def with_own_positions(path, config):
    """The file in the layout that this exporter writes: positions are counted in the graph, not given."""
    model = onnx.load(str(path))
    graph = model.graph
    if "position_ids" in config.inputs or not any(value.name == "position_ids" for value in graph.input):
        return path
    kept = [value for value in graph.input if value.name != "position_ids"]
    past = next(value.name for value in kept if value.name.startswith("past_key_values."))
    del graph.input[:]
    graph.input.extend(kept)
    constants = [
        helper.make_node("Constant", [], [f"own_{value}"], value=helper.make_tensor("", TensorProto.INT64, [], [value]))
        for value in (1, 2)
    ]
    counted = [
        helper.make_node("Shape", [past], ["own_past_shape"]),
        helper.make_node("Gather", ["own_past_shape", "own_2"], ["own_start"], axis=0),
        helper.make_node("Shape", ["input_ids"], ["own_shape"]),
        helper.make_node("Gather", ["own_shape", "own_1"], ["own_length"], axis=0),
        helper.make_node("Add", ["own_start", "own_length"], ["own_end"]),
        helper.make_node("Range", ["own_start", "own_end", "own_1"], ["own_row"]),
        helper.make_node("Expand", ["own_row", "own_shape"], ["position_ids"]),
    ]
    for node in reversed([*constants, *counted]):
        graph.node.insert(0, node)
    adapted = path.with_suffix(".own-positions.onnx")
    onnx.save(model, str(adapted))
    return adapted


if __name__ == "__main__":
    serve(judge, load_model)
