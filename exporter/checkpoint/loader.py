"""Load a checkpoint: config, eager model in evaluation mode, preprocessor."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, GenerationConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from exporter.checkpoint.model_class import model_class, type_note
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
        model: The eager model, in evaluation mode, every floating-point weight of the asked dtype.
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
        notes += _settle_attention(config, attn_implementation)
        source = _Source(files, config, _DTYPES[dtype], run_code)
        model, judgement = _model(source)
        model.eval()
        preprocessor, preprocessor_notes = load_preprocessor(files.path, model, run_code)
    notes += type_note(files.architectures, model) + _dtype_note(files, dtype) + judgement.notes
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
    if source.files.weights_format == "tensorflow":
        return _from_tensorflow(source)
    model, info = _from_pretrained(source)
    return model, judge(model, info, source.files)


def _from_pretrained(source: _Source) -> tuple[PreTrainedModel, LoadingInfo]:
    files = source.files
    options = {
        "config": source.config,
        "dtype": source.dtype,
        "use_safetensors": files.weights_format == "safetensors",
        "weights_only": True,
        "local_files_only": True,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # told apart and refused in `judge`, with better words
    }
    try:
        if source.run_code:
            auto = getattr(transformers, files.task.auto_classes[0])
            model, info = auto.from_pretrained(files.path, trust_remote_code=True, **options)
        else:
            model, info = model_class(source.config, files.task).from_pretrained(files.path, **options)
    except ExportError:
        raise
    except pickle.UnpicklingError as error:
        raise _unpicklable(files, error) from error
    except SafetensorError as error:
        raise ExportError(
            "bad-weights",
            f"The weights in {files.path} can't be read: {_reason(error)}",
            "Copy or download them again.",
        ) from error
    except ImportError as error:
        raise _missing_package(files, error) from error
    except MemoryError:
        raise
    except Exception as error:  # a model's constructor raises whatever it likes on a config it can't work with
        raise ExportError(
            "cannot-load", f"{files.path} can't be loaded as {files.model_type}: {_reason(error)}"
        ) from error
    return model, LoadingInfo(
        missing=frozenset(info["missing_keys"]),
        unexpected=frozenset(info["unexpected_keys"]),
        mismatched=tuple(sorted((key, tuple(held), tuple(made)) for key, held, made in info["mismatched_keys"])),
    )


def _from_tensorflow(source: _Source) -> tuple[PreTrainedModel, Judgement]:
    from exporter.tensorflow import load_into  # needs h5py, which only these checkpoints do

    path = source.files.path
    model = model_class(source.config, source.files.task)(source.config)
    notes = load_into(model, path)
    model.tie_weights()
    if model.can_generate():
        model.generation_config = _generation_config(path)
    return model.to(source.dtype), Judgement(notes=("Weights come from tf_model.h5.", *notes))


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


def _unpicklable(files: CheckpointFiles, error: pickle.UnpicklingError) -> ExportError:
    unsafe = sorted({name for file in files.weights for name in _unsafe_globals(file)})
    if not unsafe and "truncated" in str(error):
        return ExportError(
            "truncated-weights",
            f"{files.weights[0]} is cut short: {_reason(error)}",
            "Copy or download the file again.",
        )
    why = f"it refers to {', '.join(unsafe[:5])}" if unsafe else _reason(error)
    return ExportError(
        "unsafe-pickle",
        f"{', '.join(file.name for file in files.weights)} in {files.path} can't be read without running code from it: "
        f"{why}. Only plain tensors are unpickled here.",
        "If you trust where it came from, convert it once to model.safetensors, on a machine where nothing is at "
        "stake: docs/checkpoints.md has the four lines.",
    )


def _unsafe_globals(file: Path) -> list[str]:
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except (pickle.UnpicklingError, ValueError, RuntimeError, EOFError):  # not a zip archive: nothing to list
        return []


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
