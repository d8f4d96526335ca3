"""Load a checkpoint: config, eager model in evaluation mode, preprocessor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, GenerationConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from exporter.checkpoint.model_class import model_class, refuse_contradiction
from exporter.checkpoint.pickled import read_pickled
from exporter.checkpoint.preprocessor import load_preprocessor, vocabulary_note
from exporter.checkpoint.remote_code import CodePolicy, refuse_unknown_type, runs_code
from exporter.checkpoint.weights import Judgement, LoadingInfo, judge
from exporter.checkpoint_files import CheckpointFiles, inspect
from exporter.results import ExportError
from exporter.tasks import Task

__all__ = ["Checkpoint", "load", "refuse_random_outputs"]

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

# Implementations that transformers brings itself; others fetch kernels or need packages made for GPUs.
_ATTENTION = (None, "eager", "sdpa")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        path: The folder it came from.
        model: The eager model, in evaluation mode, of the asked dtype; a few types keep some layers in float32.
        config: The model's config.
        preprocessor: Tokenizer, processor, image processor or feature extractor; None where the folder has none.
        task: What the model was loaded for.
        with_past: Whether the key/value cache was asked for as inputs and outputs.
        notes: What a reader of the report should know about this checkpoint.
        random_outputs: Outputs that depend on weights the checkpoint doesn't hold, and so mean nothing.
    """

    path: Path
    model: PreTrainedModel
    config: PreTrainedConfig
    preprocessor: Any
    task: Task
    with_past: bool
    notes: tuple[str, ...] = ()
    random_outputs: tuple[str, ...] = ()


def load(
    path: Path,
    *,
    task: str | None = None,
    dtype: str = "float32",
    allow_remote_code: bool = False,
    revision: str = "",
    attn_implementation: str | None = None,
) -> Checkpoint:
    """Load the checkpoint in the folder `path`.

    Args:
        path: Folder with ``config.json`` and weights.
        task: A task's name in either family, with or without ``-with-past``; None: the checkpoint's own.
        dtype: What floating-point weights become: ``float32`` whatever the file holds, unless asked otherwise.
        allow_remote_code: Whether Python code that comes with the checkpoint may run.
        revision: The commit the folder was fetched at; remote code runs only at a full commit hash.
        attn_implementation: ``eager`` or ``sdpa``; None: what transformers chooses.

    Raises:
        ExportError: Anything that makes the checkpoint unusable.
    """
    if dtype not in _DTYPES:
        raise ExportError("unknown-dtype", f"{dtype!r} is not a type to load weights in.", f"Use {', '.join(_DTYPES)}.")
    files = inspect(Path(path), task)
    policy = CodePolicy(allow_remote_code, revision)
    with _without_progress_bars():
        run_code, notes = runs_code(files, policy)
        config = _config(files, run_code)
        refuse_contradiction(config, str(files.path / "config.json"))
        notes += _settle_attention(config, attn_implementation)
        source = _Source(files, config, _DTYPES[dtype], run_code)
        model, judgement = _model(source)
        model.eval()
        preprocessor, preprocessor_notes = load_preprocessor(files.path, model, run_code)
    notes += _dtype_note(files, dtype) + judgement.notes
    notes += preprocessor_notes + vocabulary_note(preprocessor, model) + files.notes
    return Checkpoint(
        path=files.path,
        model=model,
        config=model.config,
        preprocessor=preprocessor,
        task=files.task,
        with_past=files.with_past,
        notes=notes,
        random_outputs=judgement.random_outputs,
    )


def refuse_random_outputs(checkpoint: Checkpoint, outputs: tuple[str, ...]) -> None:
    """Raise `ExportError` if one of `outputs` would be computed with weights that the checkpoint doesn't hold."""
    random = [name for name in outputs if name in checkpoint.random_outputs]
    if random:
        raise ExportError(
            "random-output",
            f"The output {', '.join(random)} depends on weights that the checkpoint in {checkpoint.path} doesn't hold.",
            "Leave the output out, or use a checkpoint that holds them.",
        )


@dataclass(frozen=True)
class _Source:
    files: CheckpointFiles
    config: PreTrainedConfig
    dtype: torch.dtype
    run_code: bool


def _config(files: CheckpointFiles, run_code: bool) -> PreTrainedConfig:
    if not run_code:
        refuse_unknown_type(files)
    try:
        return AutoConfig.from_pretrained(files.path, trust_remote_code=run_code, local_files_only=True)
    except ImportError as error:
        raise _missing_package(files, error) from error
    except Exception as error:  # a config's own checks raise whatever they like
        raise ExportError(
            "bad-config",
            f"{files.path / 'config.json'} is no valid config of type {files.model_type!r}: {_reason(error)}",
            "Correct the value; a config.json that `save_pretrained` writes holds valid ones.",
        ) from error


def _settle_attention(config: PreTrainedConfig, asked: str | None) -> tuple[str, ...]:
    """Choose the attention implementation before a model is built; what needs other packages is replaced."""
    written = config._attn_implementation
    if asked is not None:
        config._attn_implementation = asked
        return ()
    if written in _ATTENTION:
        return ()
    config._attn_implementation = None
    return (f"config.json asks for the attention implementation {written!r}; transformers' own was used.",)


def _model(source: _Source) -> tuple[PreTrainedModel, Judgement]:
    files = source.files
    with _explained(files):
        if files.weights_format == "safetensors":
            model, info = _loaded(source, files.path)
            return model, judge(model, info, files)
        if files.weights_format == "pytorch":
            tensors, notes = read_pickled(files.weights)
            model, info = _loaded(source, None, state_dict=tensors)
            judgement = judge(model, info, files)
            judgement = replace(judgement, notes=judgement.notes + notes)
        else:
            model, judgement = _from_tensorflow(source)
        if model.can_generate():
            model.generation_config = _generation_config(files.path)
        return model, judgement


def _loaded(source: _Source, path: Path | None, **weights: Any) -> tuple[PreTrainedModel, LoadingInfo]:
    options = {
        "config": source.config,
        "dtype": source.dtype,
        "use_safetensors": True,
        "local_files_only": True,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # told apart and refused in `judge`, with better words
    }
    if source.run_code:
        auto = getattr(transformers, source.files.task.auto_classes[0])
        cls = partial(auto.from_pretrained, trust_remote_code=True)
    else:
        cls = model_class(source.config, source.files.task).from_pretrained
    model, info = cls(path, **options, **weights)
    return model, LoadingInfo(
        missing=frozenset(info["missing_keys"]),
        unexpected=frozenset(info["unexpected_keys"]),
        mismatched=tuple(sorted((key, tuple(held), tuple(made)) for key, held, made in info["mismatched_keys"])),
    )


def _from_tensorflow(source: _Source) -> tuple[PreTrainedModel, Judgement]:
    from exporter.tensorflow import load_into  # needs h5py, which only these checkpoints do

    model = model_class(source.config, source.files.task)(source.config)
    notes = load_into(model, source.files.path)
    return model.to(source.dtype), Judgement(notes=("Weights come from a TensorFlow checkpoint.", *notes))


@contextmanager
def _explained(files: CheckpointFiles) -> Iterator[None]:
    """Say what an exception from transformers means for the checkpoint; its traceback stays in the log."""
    try:
        yield
    except (ExportError, MemoryError):
        raise
    except SafetensorError as error:
        raise ExportError(
            "bad-weights",
            f"The weights in {files.path} can't be read: {_reason(error)}",
            "Copy or download them again.",
        ) from error
    except ImportError as error:
        raise _missing_package(files, error) from error
    except Exception as error:  # a model's constructor raises whatever it likes on a config it can't work with
        raise ExportError(
            "cannot-load",
            f"{files.path} can't be loaded as {files.model_type}: {_reason(error)}",
            "Its config.json may hold a value that the model can't work with.",
        ) from error


def _generation_config(path: Path) -> GenerationConfig:
    if (path / "generation_config.json").is_file():
        return GenerationConfig.from_pretrained(path, local_files_only=True)
    # Older checkpoints keep what steers generation in config.json.
    return GenerationConfig.from_pretrained(
        path, config_file_name="config.json", _from_model_config=True, local_files_only=True
    )


def _dtype_note(files: CheckpointFiles, dtype: str) -> tuple[str, ...]:
    stored = [name for name in files.dtypes if name in _SAFETENSORS_FLOATS and _SAFETENSORS_FLOATS[name] != dtype]
    if not stored:
        return ()
    return (f"The checkpoint stores {', '.join(_SAFETENSORS_FLOATS[name] for name in stored)}; loaded as {dtype}.",)


_SAFETENSORS_FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def _missing_package(files: CheckpointFiles, error: ImportError) -> ExportError:
    return ExportError(
        "missing-package",
        f"{files.path} needs a package that is not installed: {_reason(error)}",
        "Install it next to this tool, or use a checkpoint that does without.",
    )


def _reason(error: BaseException) -> str:
    """The first sentences of an exception's text on one line, without terminal colours."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    text = " ".join(text.split())
    return f"{type(error).__name__}: {text[:400]}{'…' if len(text) > 400 else ''}"


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
