"""Names and axes of keys and values, as the runtimes that use them know them."""

from __future__ import annotations

from exporter.architectures.base import Axes, Graph

__all__ = ["PAST", "PRESENT", "cache_axes", "cross_cache_axes", "takes_past"]

PAST = "past_key_values"
PRESENT = "present"


def takes_past(graph: Graph) -> bool:
    """Whether a graph carries on what was begun."""
    return any(name.startswith(PAST) for name in graph.inputs)


def cache_axes(prefix: str, layers: int, tokens: str) -> dict[str, Axes]:
    """Keys and values of each layer of a decoder-only model: (batch, heads, tokens, head size)."""
    return {f"{prefix}.{layer}.{each}": {0: "batch", 2: tokens} for layer in range(layers) for each in ("key", "value")}


def cross_cache_axes(prefix: str, layers: int, tokens: str, encoder_tokens: str = "") -> dict[str, Axes]:
    """Keys and values of each layer of a decoder with cross-attention.

    Args:
        prefix: `PAST` or `PRESENT`.
        layers: Layers of the decoder.
        tokens: Axis of the tokens written so far.
        encoder_tokens: Axis of what the encoder read; empty leaves cross-attention out.
    """
    sides = {"decoder": tokens, "encoder": encoder_tokens}
    return {
        f"{prefix}.{layer}.{side}.{each}": {0: "batch", 2: axis}
        for layer in range(layers)
        for side, axis in sides.items()
        if axis
        for each in ("key", "value")
    }
