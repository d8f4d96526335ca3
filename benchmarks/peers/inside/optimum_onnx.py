"""Judges files with optimum's `validate_model_outputs`, with the configurations that ``optimum-cli export onnx`` makes.

Runs in the environment of `benchmarks/requirements-optimum-onnx.txt`.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import onnx
from optimum.exporters.error_utils import AtolError, OutputMatchError, ShapeError
from optimum.exporters.onnx.convert import validate_model_outputs
from optimum.exporters.tasks import TasksManager
from optimum.exporters.utils import _get_submodels_and_export_configs
from protocol import NotApplicable, serve

logging.disable(logging.ERROR)

OWN_WORDS = (AtolError, OutputMatchError, ShapeError)
ONLY_WARNINGS = (AtolError, OutputMatchError)
"""What the command line prints as a warning, and then exits with 0."""


@functools.cache
def loaded(checkpoint, task):
    """The whole model, and its parts with their configurations by the name of their file."""
    model = TasksManager.get_model_from_task(task, checkpoint, framework="pt", library_name="transformers")
    _, parts = _get_submodels_and_export_configs(
        model=model,
        task=task,
        monolith=False,
        custom_export_configs={},
        custom_architecture=False,
        _variant="default",
        library_name="transformers",
    )
    return model, parts


def load_model(job):
    return loaded(job["checkpoint"], job["task"])[0]


def judge(job):
    """Raises what the validator raises."""
    model, parts = loaded(job["checkpoint"], job["task"])
    if job["graph"] not in parts:
        raise NotApplicable(f"writes no file {job['graph']}.onnx")
    part, config = parts[job["graph"]]
    file = with_own_axes(Path(job["file"]), config)
    try:
        validate_model_outputs(
            asking_for(config, file),
            part,
            file,
            list(config.outputs),
            input_shapes=shapes(model.config),
            use_subprocess=False,
        )
    except Exception as error:
        error.caught = isinstance(error, OWN_WORDS)
        error.exit_code = 0 if isinstance(error, ONLY_WARNINGS) else 1
        raise


def shapes(config):
    """Sizes that it takes for granted, and small models don't have."""
    if config.model_type == "whisper":
        return {"feature_size": config.num_mel_bins, "nb_max_frames": 2 * config.max_source_positions}
    return {}


def asking_for(config, file):
    """Its configuration, giving no positions to a file that counts them itself."""
    takes = {value.name for value in onnx.load(str(file), load_external_data=False).graph.input}
    usual = type(config).generate_dummy_inputs

    def generate_dummy_inputs(*args, **kwargs):
        given = usual(config, *args, **kwargs)
        return {name: value for name, value in given.items() if name != "position_ids" or name in takes}

    config.generate_dummy_inputs = generate_dummy_inputs
    return config


def with_own_axes(path, config):
    """The file with the names of axes that this exporter writes, which its validator insists on.

    Where it knows no name it writes a number; what number that is, it does not compare.
    """
    model = onnx.load(str(path))
    for value in model.graph.output:
        if value.name not in config.outputs:
            continue
        for index, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_param"):
                dim.Clear()
                if name := config.outputs[value.name].get(index):
                    dim.dim_param = name
    adapted = path.with_suffix(".own-axes.onnx")
    onnx.save(model, str(adapted))
    return adapted


if __name__ == "__main__":
    serve(judge, load_model)
