"""What a checkpoint folder holds, read without loading weights, torch or transformers."""

from exporter.checkpoint_files.inspection import CheckpointFiles, inspect, read_config
from exporter.checkpoint_files.preprocessors import PREPROCESSOR_FILES, PREPROCESSOR_SETTINGS, VOCABULARIES
from exporter.checkpoint_files.text import is_lfs_pointer, read_json, refuse_lfs_pointers
from exporter.checkpoint_files.weights import (
    WeightsFormat,
    choose_weights,
    plain_name,
    refuse_missing_shards,
    shard_names,
)

__all__ = [
    "PREPROCESSOR_FILES",
    "PREPROCESSOR_SETTINGS",
    "VOCABULARIES",
    "CheckpointFiles",
    "WeightsFormat",
    "choose_weights",
    "inspect",
    "is_lfs_pointer",
    "plain_name",
    "read_config",
    "read_json",
    "refuse_lfs_pointers",
    "refuse_missing_shards",
    "shard_names",
]
