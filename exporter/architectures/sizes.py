"""Sizes that configurations spell in more than one way, read by attribute."""

from __future__ import annotations

from typing import Any

__all__ = [
    "cache_heads",
    "decoder_config",
    "image_size",
    "num_channels",
    "patch_size",
    "query_heads",
    "text_config",
    "vision_config",
]


def text_config(config: Any) -> Any:
    """The part about text: of a pair of towers its text tower, of anything else the whole."""
    return getattr(config, "text_config", None) or config


def vision_config(config: Any) -> Any:
    """The part about images: the vision tower of a pair, the encoder of an image-to-text model, or the whole."""
    return getattr(config, "vision_config", None) or getattr(config, "encoder", None) or config


def decoder_config(config: Any) -> Any:
    """The part about the tokens written: the decoder of two joined models, or the whole."""
    return getattr(config, "decoder", None) or text_config(config)


def cache_heads(config: Any) -> int:
    """Heads of the keys and values that a decoder keeps; several heads of queries may share one."""
    config = decoder_config(config)
    if getattr(config, "new_decoder_architecture", False):
        return int(config.num_kv_heads)
    if getattr(config, "multi_query", False):
        return 1
    return int(getattr(config, "num_key_value_heads", None) or query_heads(config))


def query_heads(config: Any) -> int:
    """Heads of a decoder's queries."""
    config = decoder_config(config)
    return int(getattr(config, "decoder_attention_heads", None) or config.num_attention_heads)


def image_size(config: Any) -> tuple[int, int]:
    """Height and width in pixels that a model of images was made for; 224 where the configuration doesn't say."""
    vision = vision_config(config)
    size = getattr(vision, "image_size", None) or getattr(vision, "input_size", None) or 224
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def patch_size(config: Any) -> tuple[int, int]:
    """Height and width in pixels of one patch; 1 where there are none."""
    size = getattr(vision_config(config), "patch_size", 1)
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def num_channels(config: Any) -> int:
    """Colours of a pixel."""
    return int(getattr(vision_config(config), "num_channels", 3))
