"""A tiny model of every described type: random weights, two layers, hidden size 32, no network.

The weights are drawn anew, so that faults show: every layer keeps values near one, and nothing that a checkpoint would
have trained (biases, scales, running statistics) is left at its initial 0 or 1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import transformers
from torch import nn
from transformers import CONFIG_MAPPING, PreTrainedConfig, PreTrainedModel

from exporter import tasks
from exporter.architectures import describe
from exporter.eager import GraphModule
from exporter.inputs import trace_sample

__all__ = ["build", "build_anew", "config", "config_types", "untrained"]

VOCABULARY = 99

_ENCODER = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
    "type_vocab_size": 2,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}

_VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}

_GPT = {
    "vocab_size": VOCABULARY,
    "n_positions": 64,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}

_BART = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
}

_T5 = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}

_XLM = {
    "vocab_size": VOCABULARY,
    "n_words": VOCABULARY,
    "emb_dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "max_position_embeddings": 64,
    "pad_index": 2,
    "pad_token_id": 2,
}

_PAIR = {
    "text_config": {**_ENCODER, "max_position_embeddings": 24, "projection_dim": 16, "eos_token_id": VOCABULARY - 1},
    "vision_config": {**_VISION, "projection_dim": 16},
    "projection_dim": 16,
}

_RESNET = {
    "embedding_size": 8,
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}

_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "albert": {**_ENCODER, "embedding_size": 16, "num_hidden_groups": 1},
    "bart": _BART,
    "beit": {**_VISION, "use_relative_position_bias": True, "use_mask_token": True},
    "bert": _ENCODER,
    "big-bird": {**_ENCODER, "max_position_embeddings": 96, "block_size": 4, "num_random_blocks": 2},
    "bigbird-pegasus": {**_BART, "max_position_embeddings": 96, "block_size": 4, "num_random_blocks": 2},
    "blenderbot": _BART,
    "blenderbot-small": _BART,
    "bloom": {**_GPT, "hidden_size": 32},
    "camembert": _ENCODER,
    "clip": _PAIR,
    "codegen": {**_GPT, "rotary_dim": 4},
    "convbert": {**_ENCODER, "embedding_size": 16, "head_ratio": 2, "conv_kernel_size": 3, "num_groups": 1},
    "convnext": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "image_size": 64},
    "convnextv2": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "image_size": 64},
    "data2vec-text": _ENCODER,
    "data2vec-vision": {**_VISION, "use_relative_position_bias": True, "use_mask_token": True},
    "deberta": {
        **_ENCODER,
        "type_vocab_size": 0,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "max_relative_positions": -1,
        "position_biased_input": False,
    },
    "deberta-v2": {
        **_ENCODER,
        "type_vocab_size": 0,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "max_relative_positions": -1,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
    },
    "deit": _VISION,
    "detr": {
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 8,
        "decoder_attention_heads": 8,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "num_queries": 6,
        "backbone_config": {"model_type": "resnet", **_RESNET},
    },
    "distilbert": {**_ENCODER, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "electra": {**_ENCODER, "embedding_size": 16},
    "flaubert": _XLM,
    "gpt-neo": {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 4,
        "max_position_embeddings": 64,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
    },
    "gpt2": _GPT,
    "gptj": {**_GPT, "rotary_dim": 4},
    "groupvit": {
        **_PAIR,
        "vision_config": {
            **_VISION,
            "depths": [2, 1, 1],
            "num_group_tokens": [8, 4, 0],
            "num_output_groups": [8, 4, 4],
        },
        "projection_intermediate_dim": 24,
    },
    "ibert": _ENCODER,
    "imagegpt": {"vocab_size": 33, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "layoutlm": {**_ENCODER, "max_2d_position_embeddings": 64},
    "layoutlmv3": {
        **_ENCODER,
        "max_2d_position_embeddings": 64,
        "coordinate_size": 6,
        "shape_size": 4,
        "input_size": 32,
        "patch_size": 8,
    },
    "levit": {
        "image_size": 64,
        "hidden_sizes": [16, 24, 32],
        "num_attention_heads": [2, 3, 4],
        "depths": [1, 1, 1],
        "key_dim": [8, 8, 8],
        "mlp_ratio": [2, 2, 2],
        "attention_ratio": [2, 2, 2],
    },
    "longformer": {**_ENCODER, "attention_window": 4},
    "longt5": {**_T5, "local_radius": 3, "global_block_size": 4},
    "m2m-100": _BART,
    "marian": {**_BART, "decoder_start_token_id": 1},
    "mbart": _BART,
    "mobilebert": {
        **_ENCODER,
        "embedding_size": 16,
        "intra_bottleneck_size": 16,
        "num_feedforward_networks": 2,
    },
    "mobilenet-v1": {"image_size": 64, "depth_multiplier": 0.25},
    "mobilenet-v2": {"image_size": 64, "depth_multiplier": 0.25},
    "mobilevit": {
        "image_size": 64,
        "hidden_sizes": [16, 24, 32],
        "neck_hidden_sizes": [4, 8, 8, 16, 24, 32, 48],
        "num_attention_heads": 4,
        "expand_ratio": 2.0,
    },
    "mt5": _T5,
    "owlvit": _PAIR,
    "perceiver": {
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 24,
        "num_latents": 6,
        "d_latents": 32,
        "d_model": 24,
        "num_self_attends_per_block": 2,
        "num_self_attention_heads": 4,
        "num_cross_attention_heads": 4,
        "qk_channels": 32,
        "v_channels": 32,
        "image_size": 16,
        "pad_token_id": 0,
    },
    "poolformer": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
    "rembert": {**_ENCODER, "input_embedding_size": 16, "output_embedding_size": 24},
    "resnet": _RESNET,
    "roberta": _ENCODER,
    "roformer": {**_ENCODER, "embedding_size": 16},
    "segformer": {
        "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 2, 4, 4],
        "decoder_hidden_size": 24,
    },
    "squeezebert": {
        **_ENCODER,
        "embedding_size": 32,
        **{f"{name}_groups": 4 for name in ("q", "k", "v", "intermediate", "output")},
    },
    "swin": {
        "image_size": 32,
        "patch_size": 2,
        "embed_dim": 16,
        "depths": [1, 2, 1],
        "num_heads": [2, 2, 4],
        "window_size": 4,
    },
    "t5": _T5,
    "vision-encoder-decoder": {
        "encoder": {"model_type": "vit", **_VISION},
        "decoder": {"model_type": "gpt2", **_GPT, "is_decoder": True, "add_cross_attention": True},
        "decoder_start_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    },
    "vit": _VISION,
    "whisper": {
        **{name: value for name, value in _BART.items() if name != "max_position_embeddings"},
        "num_mel_bins": 8,
        "max_source_positions": 30,
        "max_target_positions": 64,
        "suppress_tokens": None,
        "begin_suppress_tokens": None,
    },
    "xlm": _XLM,
    "xlm-roberta": _ENCODER,
    "xlm-roberta-xl": _ENCODER,
    "yolos": {**_VISION, "image_size": [32, 48], "num_detection_tokens": 6},
}


def config_types() -> tuple[str, ...]:
    """Every type that can be built, in the spelling with dashes."""
    return tuple(sorted(_SETTINGS))


def config(model_type: str, task: str = "default", **changes: Any) -> PreTrainedConfig:
    """The configuration of a tiny model; either spelling of the type, settings changed as named."""
    name = model_type.replace("_", "-")
    kinds = {kind.replace("_", "-"): kind for kind in CONFIG_MAPPING}
    settings = {**_SETTINGS[name], **changes}
    made = CONFIG_MAPPING[kinds[name]](**settings)
    if tasks.find(task).name != "question-answering":  # which has two labels: start and end
        made.id2label = {index: f"label{index}" for index in range(3)}
    if tasks.find(task).name == "causal-lm" and hasattr(made, "is_decoder"):
        made.is_decoder = True
        made.is_encoder_decoder = False
    return made


@functools.lru_cache(maxsize=8)
def build(model_type: str, task: str = "default", seed: int = 0) -> PreTrainedModel:
    """An eager model in evaluation mode, the same for the same arguments.

    Args:
        model_type: Either spelling.
        task: Canonical name or synonym, with or without ``-with-past``.
        seed: Of the weights.
    """
    return build_anew(config(model_type, task), task, seed)


def build_anew(settings: PreTrainedConfig, task: str, seed: int = 0) -> PreTrainedModel:
    """An eager model of a configuration, in evaluation mode."""
    torch.manual_seed(seed)
    model: PreTrainedModel = _class(settings, task)(settings).eval()
    random = torch.Generator().manual_seed(seed)
    _draw(model, random)
    model.tie_weights()
    _normalise(model, task, random)
    return model


def _class(settings: PreTrainedConfig, task: str) -> Callable[[PreTrainedConfig], Any]:
    name = tasks.find(task)
    if (settings.model_type, name.name) == ("flaubert", "causal-lm"):
        # The auto class doesn't know it: a FlauBERT that writes is the same class as one that fills in.
        return transformers.FlaubertWithLMHeadModel  # type: ignore[no-any-return]
    classes = getattr(transformers, name.auto_classes[0])._model_mapping[type(settings)]
    return classes[0] if isinstance(classes, tuple) else classes  # type: ignore[no-any-return]


def untrained(model_type: str, task: str = "default", seed: int = 0) -> PreTrainedModel:
    """A model as transformers initialises it, in evaluation mode: weights near zero, in which faults hardly show."""
    settings = config(model_type, task)
    torch.manual_seed(seed)
    model: PreTrainedModel = _class(settings, task)(settings).eval()
    return model


@torch.no_grad()
def _draw(model: nn.Module, random: torch.Generator) -> None:
    """Weights that keep values near one from layer to layer."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=random)
        if id(parameter) in embeddings:
            parameter.copy_(noise * 0.5)
        elif parameter.dim() >= 2:
            parameter.copy_(noise / math.sqrt(parameter[0].numel()))
        else:
            parameter.add_(noise * 0.1)


@torch.no_grad()
def _normalise(model: PreTrainedModel, task: str, random: torch.Generator) -> None:
    """Running statistics about those of what comes, or the inputs would be lost among the biases layer by layer."""

    def measure(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        values = inputs[0].transpose(0, 1).flatten(1)
        # The deviation of all channels: one that is nearly the same in a few rows would explode.
        mean, deviation = values.mean(dim=1), values.std()
        module.running_mean.copy_(mean + deviation * torch.randn(mean.shape, generator=random) * 0.1)
        module.running_var.copy_(deviation**2 * (torch.rand(mean.shape, generator=random) + 0.5))

    hooks = [
        module.register_forward_pre_hook(measure)
        for module in model.modules()
        if getattr(module, "running_var", None) is not None
    ]
    if hooks:
        graph = describe(model.config, task).graphs[0]
        sample = trace_sample(graph, model.config)
        GraphModule(model, graph).run({name: torch.from_numpy(array) for name, array in sample.items()})
    for hook in hooks:
        hook.remove()
