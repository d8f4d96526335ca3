"""The manifest: which models to export, and how. `load` reads ``export.yml``; every error knows its line."""

from __future__ import annotations

from exporter.manifest.errors import ManifestError, ManifestErrors
from exporter.manifest.loading import CustomConfig, Entry, Manifest, UnknownNameError, load, parse, read_entries
from exporter.manifest.samples import Samples, SamplesError, read_samples
from exporter.manifest.schema import (
    OPSETS,
    Formats,
    NeuronOptions,
    OnnxOptions,
    TorchScriptOptions,
    ValidationOptions,
    WrittenEntry,
    json_schema,
)

__all__ = [
    "OPSETS",
    "CustomConfig",
    "Entry",
    "Formats",
    "Manifest",
    "ManifestError",
    "ManifestErrors",
    "NeuronOptions",
    "OnnxOptions",
    "Samples",
    "SamplesError",
    "TorchScriptOptions",
    "UnknownNameError",
    "ValidationOptions",
    "WrittenEntry",
    "json_schema",
    "load",
    "parse",
    "read_entries",
    "read_samples",
]
