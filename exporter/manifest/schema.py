"""What may be written in a manifest: one class per mapping, with the defaults, and the JSON Schema made of them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from exporter import tasks
from exporter.manifest.errors import quoted

__all__ = [
    "FORMATS",
    "OPSETS",
    "SCHEMA_URI",
    "Defaults",
    "Document",
    "Formats",
    "NeuronOptions",
    "OnnxOptions",
    "TorchScriptOptions",
    "ValidationOptions",
    "WrittenEntry",
    "json_schema",
]

SCHEMA_URI = "https://json-schema.org/draft/2020-12/schema"
FORMATS = ("onnx", "torchscript", "neuron")

# Lowest and highest opset an engine writes. `legacy` is torch's TorchScript exporter (9 and 10 lack what the models
# need); `dynamo` traces at 18 and converts upwards, and hands back 18 in silence above 25.
OPSETS: dict[str, tuple[int, int]] = {"auto": (11, 25), "dynamo": (18, 25), "legacy": (11, 20)}

_LONGEST_NAME = 100
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
# Windows refuses these as file names, with any extension.
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
# What a run writes beside the models' folders.
_OUR_FILES = ("export-report.json", "export-report.md")
_AXIS = re.compile(r"[a-z][a-z0-9_]*")
_CONFIG = re.compile(r"(?P<path>[^:]+\.py):(?P<class_name>[A-Za-z_][A-Za-z0-9_]*)")
# What git-check-ref-format(1) leaves, and commit hashes.
_REVISION = re.compile(
    r"(?!.*(\.\.|@\{|//|/\.|\.lock(/|$)))[^\x00-\x20\x7f~^:?*\[\\/.-][^\x00-\x20\x7f~^:?*\[\\]{0,254}"
)


def _check_version(version: object) -> object:
    if isinstance(version, bool | float):  # equal to 1 in Python
        raise PydanticCustomError("literal_error", "expected 1")
    return version


def _check_name(name: str) -> str:
    if not name:
        raise ValueError("expected a name, got empty text")
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"a name has at most {_LONGEST_NAME} characters, this one has {len(name)}")
    if not _NAME.fullmatch(name) or name.endswith("."):
        near = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
        raise ValueError(
            f"{quoted(name)} can't be a file name everywhere: a name is letters, digits, '.', '_' and '-', starts with "
            "a letter, a digit or '_', and does not end with '.'" + (f"; did you mean {quoted(near)}?" if near else "")
        )
    if _DEVICES.fullmatch(name):
        raise ValueError(f"{quoted(name)} is a device on Windows and can't be a file name there")
    if name.lower() in _OUR_FILES:
        raise ValueError(f"{quoted(name)} is the name of a file that the run writes itself")
    return name


def _check_task(task: str) -> str:
    tasks.find(task)
    return task


def _check_revision(revision: str) -> str:
    if not _REVISION.fullmatch(revision) or revision.endswith(("/", ".")):
        raise ValueError(f"expected a commit, branch or tag, got {quoted(revision)}")
    return revision


def _check_config(config: str) -> str:
    if not _CONFIG.fullmatch(config):
        raise ValueError(f"expected a file and a class such as 'export_configs.py:MyOnnxConfig', got {quoted(config)}")
    return config


def _check_text(text: str) -> str:
    if not text.strip():
        raise ValueError("expected text, got only blanks")
    return text


def _check_axis(axis: str) -> str:
    if not _AXIS.fullmatch(axis):
        raise ValueError(f"expected the name of an axis such as 'batch' or 'sequence', got {quoted(axis)}")
    return axis


def _check_size(size: object) -> int | str:
    if size == "dynamic" or (isinstance(size, int) and not isinstance(size, bool) and size >= 1):
        return size
    got = quoted(size) if isinstance(size, str) else size if isinstance(size, int | float) else "something else"
    raise ValueError(f"expected the size of this axis (at least 1) or 'dynamic', got {got}")


_TASK_NAMES = [*tasks.names(), *(f"{name}-with-past" for name in tasks.names() if tasks.find(name).past)]

Version = Annotated[Literal[1], BeforeValidator(_check_version)]
Name = Annotated[
    str,
    AfterValidator(_check_name),
    WithJsonSchema({"type": "string", "maxLength": _LONGEST_NAME, "pattern": rf"^{_NAME.pattern}$"}),
]
TaskName = Annotated[str, AfterValidator(_check_task), WithJsonSchema({"type": "string", "enum": _TASK_NAMES})]
Revision = Annotated[
    str, AfterValidator(_check_revision), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255})
]
CustomClass = Annotated[
    str,
    AfterValidator(_check_config),
    WithJsonSchema({"type": "string", "pattern": r"^[^:]+\.py:[A-Za-z_][A-Za-z0-9_]*$"}),
]
Text = Annotated[str, AfterValidator(_check_text), WithJsonSchema({"type": "string", "minLength": 1})]
AxisName = Annotated[str, AfterValidator(_check_axis)]
AxisSize = Annotated[
    int | Literal["dynamic"],
    PlainValidator(_check_size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "dynamic"}]}),
]


class Written(BaseModel):
    """Base of every mapping in a manifest: frozen, no unknown keys, no conversion between types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class OnnxOptions(Written):
    """How a model becomes ONNX."""

    opset: int = Field(
        default=18,
        ge=OPSETS["auto"][0],
        le=OPSETS["auto"][1],
        description="Opset of the file: 11 to 20 with the engine `legacy`, 18 to 25 with `dynamo`.",
    )
    engine: Literal["auto", "dynamo", "legacy"] = Field(
        default="auto",
        description="Which of torch's exporters converts. `auto` starts with the one that measures better for this "
        "type of model and tries the other when that fails.",
    )
    dtype: Literal["float32", "float16", "bfloat16"] = Field(
        default="float32", description="Type of the weights and of the computation, whatever the checkpoint holds."
    )
    axes: dict[AxisName, AxisSize] = Field(
        default={},
        description="Axes to fix at a size, by name (`batch`, `sequence` ...). An axis that is not named here, or "
        "`dynamic`, takes any size.",
        json_schema_extra={"propertyNames": {"pattern": rf"^{_AXIS.pattern}$"}},
    )
    separate_decoders: bool = Field(
        default=False,
        description="Whether an encoder-decoder with past also keeps `decoder_model.onnx` and "
        "`decoder_with_past_model.onnx` beside `decoder_model_merged.onnx`, which is both in one.",
    )

    @field_validator("engine")
    @classmethod
    def _engine_writes_opset(cls, engine: str, info: ValidationInfo) -> str:
        opset = info.data.get("opset")
        lowest, highest = OPSETS[engine]
        if opset is not None and not lowest <= opset <= highest:
            raise PydanticCustomError(
                "opset_of_engine",
                "the engine '{engine}' writes opsets {lowest} to {highest}, not {opset}{other}",
                {
                    "engine": engine,
                    "lowest": lowest,
                    "highest": highest,
                    "opset": opset,
                    "other": _other_engine(opset),
                    "beside": "opset",
                },
            )
        return engine


def _other_engine(opset: int) -> str:
    able = [name for name in ("legacy", "dynamo") if OPSETS[name][0] <= opset <= OPSETS[name][1]]
    return f"; '{able[0]}' does" if able else ""


class TorchScriptOptions(Written):
    """How a model becomes TorchScript: traced at one size, which is the only one it promises to be right at."""

    batch_size: int = Field(default=1, ge=1, le=4096, description="Rows of the traced inputs.")
    sequence_length: int | None = Field(
        default=None,
        ge=1,
        le=1_048_576,
        description="Tokens of the traced inputs. Unset, 128 or the model's maximum, whichever is less.",
    )
    fixed_sizes: bool = Field(default=False, description="Refuse inputs of any other size than the traced one.")
    untie_weights: bool = Field(
        default=False, description="Store tied weights twice, as `torchscript=True` of transformers 4 did."
    )


class NeuronOptions(Written):
    """How a model becomes a program for AWS Neuron: compiled for one size."""

    target: Literal["inf1", "inf2", "trn1"] = Field(default="inf1", description="Chip that runs the file.")
    batch_size: int = Field(default=1, ge=1, le=4096, description="Rows of the compiled inputs.")
    sequence_length: int | None = Field(
        default=None,
        ge=1,
        le=1_048_576,
        description="Tokens of the compiled inputs. Unset, 128 or the model's maximum, whichever is less.",
    )
    precision: Literal["accurate", "balanced", "fast"] = Field(
        default="accurate", description="How far the compiler may round: its casting options as one word."
    )
    compiler_args: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="Arguments for the compiler, after those that the other options make."
    )


class Formats(Written):
    """What to make of a model, by format; a format that is not asked for is None."""

    onnx: OnnxOptions | None = Field(default=None, description="ONNX: `model.onnx`.")
    torchscript: TorchScriptOptions | None = Field(default=None, description="TorchScript: `model.pt`.")
    neuron: NeuronOptions | None = Field(default=None, description="AWS Neuron; needs the Neuron SDK on the runner.")

    @model_validator(mode="after")
    def _at_least_one(self) -> Formats:
        if not self.names:
            raise ValueError("names no format; expected at least one of 'onnx', 'torchscript', 'neuron'")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The formats asked for, in the order in which they are made."""
        return tuple(name for name in FORMATS if getattr(self, name) is not None)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        mapping = handler.resolve_ref_schema(handler(schema))
        description = mapping.pop("description")
        mapping["minProperties"] = 1
        for name, options in mapping["properties"].items():
            mapping["properties"][name] = {
                "anyOf": [{"$ref": options["$ref"]}, {"type": "null"}],  # `onnx:` alone asks for it, with its defaults
                "description": options["description"],
            }
        names = {"type": "array", "items": {"enum": list(FORMATS)}, "minItems": 1, "uniqueItems": True}
        return {"anyOf": [names, mapping], "description": description}


class ValidationOptions(Written):
    """What a difference is held against, and what else to run."""

    atol: float | None = Field(
        default=None, ge=0, description="Absolute tolerance instead of the measured one; needs a `reason`."
    )
    rtol: float | None = Field(
        default=None, ge=0, description="Relative tolerance instead of the measured one; needs a `reason`."
    )
    reason: Text | None = Field(
        default=None,
        validate_default=True,
        description="Why this tolerance is right; the report shows it.",
    )
    samples: Text | None = Field(
        default=None,
        description="Real inputs to compare on, at most 32: a `.txt` with one text a line, a `.jsonl` with one object "
        "a line (arguments of the preprocessor), or a folder of images or of wav files.",
    )

    model_config = ConfigDict(
        json_schema_extra={
            "dependentRequired": {"atol": ["reason"], "rtol": ["reason"]},
            "dependentSchemas": {"reason": {"anyOf": [{"required": ["atol"]}, {"required": ["rtol"]}]}},
        }
    )

    @field_validator("reason")
    @classmethod
    def _reason_and_tolerance(cls, reason: str | None, info: ValidationInfo) -> str | None:
        # A tolerance that did not pass its own check is absent from `info.data`, and was written all the same.
        written = [key for key in ("atol", "rtol") if info.data.get(key, "refused") is not None]
        if written and reason is None:
            raise PydanticCustomError(
                "reason_missing",
                "'{key}' needs a 'reason' beside it, which the report shows",
                {"key": written[0], "beside": written[0]},
            )
        if reason is not None and not written:
            raise ValueError("a reason explains a tolerance: expected 'atol' or 'rtol' beside it")
        return reason


def _both_formats() -> Formats:
    return Formats(onnx=OnnxOptions(), torchscript=TorchScriptOptions())


class Defaults(Written):
    """Options of every model, unless the model says otherwise."""

    task: TaskName | None = Field(
        default=None,
        description="What the model is asked to do. Unset, it is inferred from the checkpoint's `architectures`.",
    )
    formats: Formats = Field(
        default_factory=_both_formats,
        description="Which formats to make: a list, or a mapping with options. Unset, ONNX and TorchScript.",
    )
    validation: ValidationOptions = Field(
        default_factory=ValidationOptions, alias="validate", description="How to compare with the PyTorch model."
    )
    config: CustomClass | None = Field(
        default=None,
        description="A class of yours that describes the architecture, as `file.py:Class`. It runs only with "
        "`--allow-custom-code`.",
    )


class WrittenEntry(Defaults):
    """A model as the manifest states it, defaults included; no path has been looked at."""

    model_config = ConfigDict(title="Model")

    name: Name = Field(description="Name of the folder it is written to, unique in the run.")
    model: Text = Field(description="A folder, relative to the manifest, or an id on the Hub.")
    revision: Revision | None = Field(
        default=None, description="Commit, branch or tag on the Hub; only for an id. Unset, the default branch."
    )

    @property
    def canonical_task(self) -> str | None:
        """The task by its canonical name, with ``-with-past`` where it was asked for; None when it is inferred."""
        if self.task is None:
            return None
        suffix = tasks.PAST_SUFFIX if tasks.split_past(self.task)[1] else ""
        return tasks.find(self.task).name + suffix

    def canonical(self) -> dict[str, Any]:
        """All that decides what is exported and how it is judged, as JSON values.

        Equal for entries that mean the same, however they are written: defaults are filled in, the task has its
        canonical name; the name of the entry and its place in the file are left out.
        """
        written = self.model_dump(mode="json", by_alias=True, include=set(WrittenEntry.model_fields) - {"name"})
        return {**written, "task": self.canonical_task}


class Document(Written):
    """An `export.yml`: the models of a repository, and what to make of them."""

    version: Version = Field(description="Version of the manifest's format.")
    defaults: Defaults = Field(
        default_factory=Defaults, description="Options of every model that does not say otherwise."
    )
    # Not `min_length`: pydantic counts only the items that hold.
    models: tuple[WrittenEntry, ...] = Field(description="The models to export.", json_schema_extra={"minItems": 1})

    @field_validator("models")
    @classmethod
    def _at_least_one(cls, models: tuple[WrittenEntry, ...]) -> tuple[WrittenEntry, ...]:
        if not models:
            raise ValueError("names no model; expected a list with at least one")
        return models


class _Schema(GenerateJsonSchema):
    """As pydantic writes it, but a key that may be left out can't be null, and field names are title enough."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        written = super().default_schema(schema)
        if written.get("default", ...) is None:
            del written["default"]
        return written

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """JSON Schema of a manifest, for editors; published as ``docs/manifest.schema.json``."""
    schema = Document.model_json_schema(by_alias=True, schema_generator=_Schema)
    return {"$schema": SCHEMA_URI, **schema, "title": "export.yml"}
