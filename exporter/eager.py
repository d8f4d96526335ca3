"""The eager model seen through a `Graph`: flat tensors in, flat tensors out, both in declared order.

The formats trace this module and validation runs it as the reference, so nothing is patched here: every part is one
call of the model's own ``forward`` with arguments that ``transformers`` documents.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutput

from exporter.architectures import Graph
from exporter.architectures.inferred import Evidence
from exporter.results import ExportError

__all__ = ["PARTS", "GraphModule", "every_output", "evidence_of", "filled_cache", "flat_cache", "run_model"]

Tensors = Mapping[str, torch.Tensor]


class GraphModule(nn.Module):
    """One graph of a model as a module whose ``forward`` has exactly the graph's inputs, named, in order.

    Args:
        model: Eager model in evaluation mode.
        graph: What goes in and out.

    Shape:
        Inputs and outputs as `graph` names them; the result is always a flat tuple.
    """

    def __init__(self, model: nn.Module, graph: Graph) -> None:
        super().__init__()
        self.model = model
        self.graph = graph
        # A wrapper in training mode would put the model back into it after an export.
        self.train(False)
        self.__dict__["forward"] = self.named_forward(self.run)

    def run(self, values: Tensors) -> tuple[torch.Tensor, ...]:
        """The outputs of the graph for named inputs, in declared order."""
        outputs = every_output(self.model, self.graph, values)
        return tuple(_pick(outputs, name, self.model) for name in self.graph.outputs)

    def named_forward(
        self, run: Callable[[Tensors], tuple[torch.Tensor, ...]]
    ) -> Callable[..., tuple[torch.Tensor, ...]]:
        """A ``forward`` whose parameters are the graph's inputs, dots as underscores: tracers read names from there."""
        names = tuple(self.graph.inputs)

        def forward(*args: torch.Tensor, **kwargs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            values = dict(zip(names, args, strict=False))
            values |= {name: kwargs[_identifier(name)] for name in names if _identifier(name) in kwargs}
            return run(values)

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter(_identifier(name), kind, annotation=torch.Tensor) for name in names]
        forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return forward


def _identifier(name: str) -> str:
    return name.replace(".", "_")


def _pick(outputs: Mapping[str, torch.Tensor], name: str, model: nn.Module) -> torch.Tensor:
    value = outputs.get(name)
    if value is None:
        given = ", ".join(key for key, each in outputs.items() if isinstance(each, torch.Tensor))
        raise ExportError(
            "no-such-output", f"{type(model).__name__} gives no output {name!r}.", f"Its outputs: {given or 'none'}."
        )
    return value


def every_output(model: nn.Module, graph: Graph, values: Tensors) -> Mapping[str, torch.Tensor]:
    """All tensors that a part of a model gives, in its order.

    Args:
        model: The eager model.
        graph: The part. Where its outputs name hidden states, ``hidden_states.0`` and so on are among the result.
        values: Inputs by name.
    """
    if not any(_HIDDEN_STATES in name for name in graph.outputs):
        return PARTS[graph.part](model, values)
    config: Any = model.config
    usual = config.output_hidden_states
    try:
        config.output_hidden_states = True
        return dict(_numbered(PARTS[graph.part](model, values)))
    finally:
        config.output_hidden_states = usual


_HIDDEN_STATES = "hidden_states."


def _numbered(outputs: Mapping[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in outputs.items():
        if isinstance(value, tuple):
            yield from ((f"{name}.{index}", each) for index, each in enumerate(value))
        else:
            yield name, value


def evidence_of(model: nn.Module, preprocessor: Any | None = None) -> Evidence:
    """What a loaded model and its preprocessor say about the inputs.

    Args:
        model: Eager model.
        preprocessor: Tokenizer, image processor, feature extractor or processor; None when the checkpoint has none.
    """
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = [each for each in inspect.signature(model.forward).parameters.values() if each.kind in kinds]
    returned = tuple(getattr(preprocessor, "model_input_names", ()))
    if getattr(preprocessor, "return_attention_mask", True) is False:
        returned = tuple(name for name in returned if name != "attention_mask")
    return Evidence(
        type(model).__name__,
        parameters=tuple(each.name for each in parameters),
        required=tuple(each.name for each in parameters if each.default is inspect.Parameter.empty),
        main_input=str(getattr(model, "main_input_name", "input_ids")),
        preprocessor=returned,
    )


def run_model(model: nn.Module, values: Tensors) -> Mapping[str, torch.Tensor]:
    """One call of ``forward`` without cache."""
    arguments: dict[str, Any] = dict(values)
    known = inspect.signature(model.forward).parameters
    if "use_cache" in known:
        arguments["use_cache"] = False
    # Without a mask `transformers` looks for packed texts in the positions, by an operator that legacy can't write.
    for ids, mask in (("input_ids", "attention_mask"), ("decoder_input_ids", "decoder_attention_mask")):
        if ids in values and mask in known and mask not in values:
            arguments[mask] = torch.ones_like(values[ids])
    outputs: Mapping[str, torch.Tensor] = model(**arguments, return_dict=True)
    return outputs


def run_decoder(model: nn.Module, values: Tensors) -> Mapping[str, torch.Tensor]:
    """A decoder-only model with past keys and values in and out."""
    plain = {name: value for name, value in values.items() if not name.startswith("past_key_values.")}
    cache = filled_cache(values, "past_key_values.{layer}.{part}")
    outputs = model(**plain, past_key_values=cache, use_cache=True, return_dict=True)
    return {**outputs, **flat_cache(cache, "present.{layer}.{part}")}


def filled_cache(values: Tensors, pattern: str) -> DynamicCache:
    """A cache that already holds keys and values, each (batch, heads, tokens, head size).

    The layers are plain ones: a sliding-window layer cuts its content while it is traced, and the graph then breaks at
    other lengths. Windows are the mask's job.
    """
    cache = DynamicCache()
    layer = 0
    while (name := pattern.format(layer=layer, part="key")) in values:
        keys, filled = values[name], DynamicLayer()
        filled.keys, filled.values = keys, values[pattern.format(layer=layer, part="value")]
        filled.dtype, filled.device, filled.is_initialized = keys.dtype, keys.device, True
        cache.layers.append(filled)
        layer += 1
    return cache


def flat_cache(cache: DynamicCache, pattern: str) -> dict[str, torch.Tensor]:
    """Keys and values of a cache by name."""
    return {
        pattern.format(layer=index, part=part): tensor
        for index, layer in enumerate(cache.layers)
        for part, tensor in (("key", layer.keys), ("value", layer.values))
    }


def run_encoder_decoder(model: nn.Module, values: Tensors) -> Mapping[str, torch.Tensor]:
    """A whole encoder-decoder with past keys and values of both kinds in and out."""
    plain = {name: value for name, value in values.items() if not name.startswith("past_key_values.")}
    cache = _cross_cache(values)
    outputs = model(**plain, past_key_values=cache, use_cache=True, return_dict=True)
    return {**outputs, **_flat_cross_cache(cache)}


def run_encoder(model: nn.Module, values: Tensors) -> Mapping[str, torch.Tensor]:
    """The encoder of an encoder-decoder."""
    encoder: nn.Module = model.get_encoder()  # type: ignore[operator]
    outputs: Mapping[str, torch.Tensor] = encoder(**values, return_dict=True)
    return outputs


def run_decoder_first(model: nn.Module, values: Tensors) -> Mapping[str, torch.Tensor]:
    """The decoder of an encoder-decoder on what the encoder gave, without past."""
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    outputs = _decode(model, values, values["encoder_hidden_states"], cache)
    return {**outputs, **_flat_cross_cache(cache)}


def run_decoder_next(model: nn.Module, values: Tensors) -> Mapping[str, torch.Tensor]:
    """The decoder of an encoder-decoder with past; what the encoder gave is in the past of cross-attention."""
    cache = _cross_cache(values)
    past = cache.cross_attention_cache.layers[0].keys
    # `forward` wants encoder states, but reads no more of them than their shape.
    states = past.new_zeros(past.shape[0], past.shape[2], _encoder_width(model))
    outputs = _decode(model, values, states, cache)
    return {**outputs, **_flat_cross_cache(cache)}


def run_decoder_merged(model: nn.Module, values: Tensors) -> Mapping[str, torch.Tensor]:
    """Whichever of the two decoders ``use_cache_branch`` says."""
    return (run_decoder_next if bool(values["use_cache_branch"]) else run_decoder_first)(model, values)


def _decode(
    model: nn.Module, values: Tensors, states: torch.Tensor, cache: EncoderDecoderCache
) -> Mapping[str, torch.Tensor]:
    mask = values.get("encoder_attention_mask")
    outputs: Mapping[str, torch.Tensor] = model(
        **({} if mask is None else {"attention_mask": mask}),
        decoder_input_ids=values["input_ids"],
        encoder_outputs=BaseModelOutput(last_hidden_state=states),
        past_key_values=cache,
        use_cache=True,
        return_dict=True,
    )
    return outputs


def _encoder_width(model: nn.Module) -> int:
    config: Any = model.config
    return int(getattr(config, "encoder", config).hidden_size)


def _cross_cache(values: Tensors) -> EncoderDecoderCache:
    written, read = (
        filled_cache(values, f"past_key_values.{{layer}}.{side}.{{part}}") for side in ("decoder", "encoder")
    )
    cache = EncoderDecoderCache(written, read)
    # Said, not found out: reading it off a size would bake the traced one.
    cache.is_updated = dict.fromkeys(range(len(read.layers)), True)
    return cache


def _flat_cross_cache(cache: EncoderDecoderCache) -> dict[str, torch.Tensor]:
    written = flat_cache(cache.self_attention_cache, "present.{layer}.decoder.{part}")
    return written | flat_cache(cache.cross_attention_cache, "present.{layer}.encoder.{part}")


PARTS: Mapping[str, Callable[[nn.Module, Tensors], Mapping[str, torch.Tensor]]] = {
    "model": run_model,
    "decoder": run_decoder,
    "decoder_prefill": run_decoder,
    "encoder_decoder": run_encoder_decoder,
    "encoder": run_encoder,
    "decoder_first": run_decoder_first,
    "decoder_next": run_decoder_next,
    "decoder_merged": run_decoder_merged,
}
"""How to run each `Part` of an architecture."""
