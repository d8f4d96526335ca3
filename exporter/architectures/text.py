"""Encoders of text: ids and a mask in, one vector a token or one a text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from exporter.architectures.base import Architecture, Axes, AxisRange
from exporter.architectures.registry import register

__all__ = [
    "BlockSparseEncoder",
    "EncoderDecoderReader",
    "OffsetEncoder",
    "RelativeEncoder",
    "SegmentEncoder",
    "TextEncoder",
    "block_sparse_limit",
]

_UNDERSTANDING = (
    "default",
    "masked-lm",
    "sequence-classification",
    "multiple-choice",
    "token-classification",
    "question-answering",
)
_UNDERSTANDING_AND_CAUSAL = (*_UNDERSTANDING[:2], "causal-lm", *_UNDERSTANDING[2:])


class TextEncoder(Architecture):
    """An encoder of token ids; the inputs are what its tokenizer returns."""

    tasks: ClassVar[tuple[str, ...]] = _UNDERSTANDING
    input_names: tuple[str, ...] = ("input_ids", "attention_mask")

    @property
    def inputs(self) -> Mapping[str, Axes]:
        if self.task == "multiple-choice":
            return {name: {0: "batch", 1: "num_choices", 2: "sequence"} for name in self.input_names}
        return {name: {0: "batch", 1: "sequence"} for name in self.input_names}

    @property
    def max_sequence(self) -> int | None:
        """Tokens of the longest text, or None where positions have no end."""
        positions = getattr(self.config, "max_position_embeddings", None)
        return positions if positions and positions > 0 else None

    def axis(self, name: str) -> AxisRange:
        return AxisRange(maximum=self.max_sequence) if name == "sequence" else super().axis(name)

    def fed_by(self, names: Sequence[str]) -> Architecture:
        return self._with_input_names(names)


class SegmentEncoder(TextEncoder):
    """An encoder whose tokenizer also tells the first text of a pair from the second."""

    input_names = ("input_ids", "attention_mask", "token_type_ids")


class OffsetEncoder(TextEncoder):
    """An encoder that counts positions from ``pad_token_id + 1``, as RoBERTa does: 514 positions hold 512 tokens."""

    @property
    def max_sequence(self) -> int | None:
        return int(self.config.max_position_embeddings) - int(self.config.pad_token_id) - 1


class RelativeEncoder(SegmentEncoder):
    """An encoder that knows distances; it has an end only where absolute positions are added, as DeBERTa may."""

    @property
    def max_sequence(self) -> int | None:
        return super().max_sequence if self.config.position_biased_input else None

    @property
    def ignored(self) -> tuple[str, ...]:
        return () if self.config.type_vocab_size else ("token_type_ids",)


class EncoderDecoderReader(TextEncoder):
    """An encoder-decoder that answers about a text instead of writing one: it makes the decoder's ids itself."""

    tasks = ("sequence-classification", "question-answering")


class BlockSparseEncoder(TextEncoder):
    """An encoder that looks at blocks of a long text, and at all of a short one, as BigBird does.

    Which of the two is decided while a model is traced, so a graph is right for short texts only.
    """

    @property
    def max_sequence(self) -> int | None:
        blocks = block_sparse_limit(self.config)
        return min(blocks, int(self.config.max_position_embeddings)) if blocks else super().max_sequence


def block_sparse_limit(config: Any) -> int | None:
    """Up to how many tokens a BigBird looks at all of them; None when it always does."""
    if config.attention_type != "block_sparse":
        return None
    return int((5 + 2 * config.num_random_blocks) * config.block_size)


@register
class Bert(SegmentEncoder):
    model_types = ("bert", "electra")
    tasks = _UNDERSTANDING_AND_CAUSAL


@register
class ConvBert(SegmentEncoder):
    model_types = ("convbert", "mobilebert", "squeezebert")


@register
class Albert(TextEncoder):
    model_types = ("albert",)


@register
class DistilBert(TextEncoder):
    model_types = ("distilbert",)
    # A checkpoint that doesn't name its tokenizer gets BERT's, which tells texts of a pair apart.
    ignored: tuple[str, ...] = ("token_type_ids",)


@register
class RemBert(TextEncoder):
    model_types = ("flaubert", "rembert", "roformer", "xlm")
    tasks = _UNDERSTANDING_AND_CAUSAL


@register
class Roberta(OffsetEncoder):
    model_types = ("camembert", "roberta", "xlm-roberta", "xlm-roberta-xl")
    tasks = _UNDERSTANDING_AND_CAUSAL


@register
class IBert(OffsetEncoder):
    model_types = ("data2vec-text", "ibert")


@register
class Longformer(OffsetEncoder):
    model_types = ("longformer",)
    default_onnx_opset = 14

    def axis(self, name: str) -> AxisRange:
        # A question is found by the three separators of a pair.
        paired = name == "sequence" and self.task in ("question-answering", "multiple-choice")
        return replace(super().axis(name), minimum=4) if paired else super().axis(name)


@register
class DebertaV2(RelativeEncoder):
    model_types = ("deberta-v2",)
    default_onnx_opset = 12


@register
class Deberta(RelativeEncoder):
    model_types = ("deberta",)
    default_onnx_opset = 12
    tasks = tuple(task for task in _UNDERSTANDING if task != "multiple-choice")


@register
class BigBird(BlockSparseEncoder):
    model_types = ("big-bird",)
    tasks = _UNDERSTANDING_AND_CAUSAL

    @property
    def max_sequence(self) -> int | None:
        # Beside another model's text it looks at all of its own, whatever its configuration says.
        return int(self.config.max_position_embeddings) if self.config.add_cross_attention else super().max_sequence


@register
class BartReader(EncoderDecoderReader):
    model_types = ("bart", "mbart")


@register
class BigBirdPegasusReader(BlockSparseEncoder):
    model_types = ("bigbird-pegasus",)
    tasks = EncoderDecoderReader.tasks
