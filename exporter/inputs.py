"""Name + axis sizes -> arrays, seeded: what a graph is traced with and judged on.

A *generator* makes one input by name, from the sizes of the named axes and the model's configuration. Arrays are numpy,
so that every runtime can take them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from exporter.architectures import AxisRange, Graph
from exporter.architectures.sizes import cache_heads, decoder_config, image_size, num_channels, patch_size, query_heads
from exporter.results import ExportError

__all__ = ["Array", "Mask", "Request", "generator", "make", "trace_sample", "trace_sizes"]

Array = npt.NDArray[Any]

Mask = Literal["ones", "right", "left", "holes", "one-row-masked", "first-row-masked"]
"""How rows are padded: not at all, at the end or start by another length in every row, here and there, or the last or
the first row wholly."""


@dataclass(frozen=True)
class Request:
    """What one input is made from.

    Attributes:
        name: Name of the input.
        sizes: Size by axis name.
        config: The model's configuration.
        mask: Padding pattern.
        seed: Seed of the case; each input draws from its own stream.
        made: Inputs made before this one, for those that follow from others (positions follow from the mask).
    """

    name: str
    axes: Mapping[int, str]
    sizes: Mapping[str, int]
    config: Any
    mask: Mask
    seed: int
    made: Mapping[str, Array]

    @property
    def random(self) -> np.random.Generator:
        """A stream of this input alone, so that adding an input leaves the others as they were."""
        return np.random.default_rng([self.seed, zlib.crc32(self.name.encode())])

    def shape(self, *default: str | int) -> tuple[int, ...]:
        """The shape: named axes by the case's sizes, the others as `default` says.

        Args:
            default: For each axis its size, or the name of an axis; axes beyond these must be named.
        """
        named = range(len(default), max(self.axes, default=-1) + 1)
        wanted = [self.axes.get(index, axis) for index, axis in enumerate(default)] + [self.axes[i] for i in named]
        return tuple(self.sizes[axis] if isinstance(axis, str) else axis for axis in wanted)


Generator = Callable[[Request], Array]

_GENERATORS: dict[str, Generator] = {}


def generator(*patterns: str) -> Callable[[Generator], Generator]:
    """Function decorator: file a generator under input names; ``*`` matches anything."""

    def file(function: Generator) -> Generator:
        _GENERATORS.update(dict.fromkeys(patterns, function))
        return function

    return file


def make(graph: Graph, sizes: Mapping[str, int], config: Any, mask: Mask = "ones", seed: int = 0) -> dict[str, Array]:
    """Arrays for every input of a graph, in its order.

    Args:
        graph: The graph.
        sizes: Size by axis name; a sum such as ``past_sequence+sequence`` is computed.
        config: The model's configuration (vocabulary, image size ...).
        mask: Padding pattern for attention masks.
        seed: Same seed, same arrays.

    Raises:
        ExportError: An input has no generator.
    """
    complete = _with_sums(graph, sizes)
    own = graph.generate(complete) if graph.generate else {}
    made: dict[str, Array] = {}
    # Masks first: positions and ids follow from them.
    for name in sorted(graph.inputs, key=lambda name: "mask" not in name):
        request = Request(name, graph.inputs[name], complete, config, mask, seed, made)
        maker = _find(name)
        if maker is None and name not in own:
            raise ExportError(
                "unknown-input",
                f"no values can be made for the input {name!r}.",
                "Define `generate_dummy_inputs` in a custom configuration.",
            )
        made[name] = _made(request, maker, own.get(name))
    return {name: made[name] for name in graph.inputs}


def _made(request: Request, maker: Generator | None, own: Array | None) -> Array:
    """The values known here, which differ from case to case, unless a custom configuration's are another thing."""
    if own is None or maker is None:
        return maker(request) if maker else np.asarray(own)
    try:
        made = maker(request)
    except (AttributeError, KeyError, TypeError):  # the model's configuration doesn't say what they are made from
        return own
    return made if (made.shape, made.dtype.kind) == (own.shape, own.dtype.kind) else own


def trace_sizes(graph: Graph) -> dict[str, int]:
    """Sizes to trace a graph with: all at least 2 and pairwise different, so that no axis freezes or merges unseen."""
    names = {axis for axes in graph.inputs.values() for axis in axes.values() if "+" not in axis}
    fixed = {"batch": 2, "sequence": 8, "past_sequence": 5, "num_choices": 3}
    spare = iter(size for size in (7, 9, 11, 13, 17) if size not in fixed.values())
    wanted = {name: fixed[name] if name in fixed else next(spare) for name in sorted(names)}
    return {name: graph.ranges.get(name, AxisRange()).nearest(size) for name, size in wanted.items()}


def trace_sample(graph: Graph, config: Any, sizes: Mapping[str, int] | None = None) -> dict[str, Array]:
    """Inputs to trace a graph with: every axis its own size, one row padded, so that nothing freezes in silence."""
    mask: Mask = "left" if graph.part == "decoder" else "right"
    return make(graph, sizes or trace_sizes(graph), config, mask)


def _with_sums(graph: Graph, sizes: Mapping[str, int]) -> dict[str, int]:
    complete = {**graph.fixed, **sizes}
    for axis in {axis for axes in graph.inputs.values() for axis in axes.values()}:
        if axis not in complete:
            parts = [part.strip() for part in axis.split("+")]
            if unknown := [part for part in parts if part not in complete]:
                raise ExportError(
                    "unknown-axis",
                    f"the axis {axis!r} is a sum, and no input has an axis {unknown[0]!r}.",
                    f"Axes of the inputs: {', '.join(sorted(complete))}.",
                )
            complete[axis] = sum(complete[part] for part in parts)
    return complete


def _find(name: str) -> Generator | None:
    exact = _GENERATORS.get(name)
    if exact is not None:
        return exact
    return next((function for pattern, function in _GENERATORS.items() if fnmatchcase(name, pattern)), None)


@generator("input_ids", "decoder_input_ids")
def token_ids(request: Request) -> Array:
    """Ids over the whole vocabulary, its ends included; int64."""
    written = request.name.startswith("decoder_")
    config = decoder_config(request.config)
    ids = request.random.integers(0, config.vocab_size, request.shape("batch", "sequence"))
    flat = ids.reshape(-1)
    flat[0], flat[-1] = config.vocab_size - 1, 0
    mask = request.made.get("decoder_attention_mask" if written else "attention_mask")
    if mask is None or mask.shape != ids.shape:
        mask = np.ones_like(ids)
    # Padding in the middle of a text would make models that derive positions from ids count otherwise.
    pad = _special(config, "pad_token_id")
    end = None if written else _end_of_text(request.config)
    for special in (pad, end):
        if special is not None:
            flat[flat == special] = _ordinary(config.vocab_size, (pad, end))
    if pad is not None:
        ids[mask == 0] = pad
    if end is not None:
        _end(ids, mask, end)
    separator = None if written else _special(config, "sep_token_id")
    if separator is not None:
        flat[flat == separator] = _ordinary(config.vocab_size, (pad, end, separator))
        _separate(ids, mask, separator)
    return ids.astype(np.int64)


def _end_of_text(config: Any) -> int | None:
    """The id that closes a text where a model looks for it: BART's classifiers read at it, CLIP at the highest id."""
    if getattr(config, "text_config", None) and getattr(config, "vision_config", None):
        return int(config.text_config.vocab_size) - 1
    return _special(decoder_config(config), "eos_token_id") if getattr(config, "is_encoder_decoder", False) else None


def _special(config: Any, name: str) -> int | None:
    """A special token, if the configuration names one that its vocabulary has."""
    value = getattr(config, name, None)
    token = value[0] if isinstance(value, (list, tuple)) and value else value
    return token if isinstance(token, int) and 0 <= token < config.vocab_size else None


def _separate(ids: Array, mask: Array, separator: int) -> None:
    """Make each row a pair of texts with three separators, where a model counts them (Longformer, BigBird)."""
    for row, counts in zip(ids.reshape(-1, ids.shape[-1]), mask.reshape(-1, ids.shape[-1]), strict=True):
        places = np.flatnonzero(counts) if np.count_nonzero(counts) > 3 else np.arange(len(row))
        middle = max(len(places) // 3, 1)
        row[[places[min(place, len(places) - 1)] for place in (middle, middle + 1, len(places) - 1)]] = separator


def _ordinary(vocab_size: int, special: Sequence[int | None]) -> int:
    return next(token for token in range(vocab_size) if token not in special)


def _end(ids: Array, mask: Array, end: int) -> None:
    """Close each row: `end` on its last token that isn't padding, or the last of all where all is padding."""
    last = ids.shape[-1] - 1 - np.argmax(mask[..., ::-1] != 0, axis=-1)
    np.put_along_axis(ids, last[..., None], end, axis=-1)


@generator("attention_mask", "encoder_attention_mask", "decoder_attention_mask")
def attention_mask(request: Request) -> Array:
    """1 where a token counts, 0 where it is padding; int64."""
    shape = request.shape("batch", "sequence")
    mask = np.ones(shape, np.int64)
    rows, length = mask.reshape(-1, shape[-1]), shape[-1]
    if request.mask in ("one-row-masked", "first-row-masked") and len(rows) > 1:
        rows[0 if request.mask == "first-row-masked" else -1] = 0
    for index, row in enumerate(rows):
        # Another length in every row, the first one whole; a single row is padded too.
        padding = min(index * length // len(rows), length - 1) if len(rows) > 1 else length // 3
        if request.mask == "right":
            row[length - padding :] = 0
        if request.mask == "left":
            row[:padding] = 0
        if request.mask == "holes":
            row[1 + index % 2 : length - 1 : 2 + index % 3] = 0
    return mask


@generator("global_attention_mask")
def global_attention(request: Request) -> Array:
    """1 for every other token, which all see and which sees all; int64."""
    mask = np.zeros(request.shape("batch", "sequence"), np.int64)
    mask[..., ::2] = 1
    return mask


@generator("token_type_ids")
def token_types(request: Request) -> Array:
    """Both segments in every row; int64."""
    shape = request.shape("batch", "sequence")
    types = np.zeros(shape, np.int64)
    if getattr(request.config, "type_vocab_size", 2) > 1:
        types[..., shape[-1] // 2 :] = 1
    return types


@generator("bbox")
def boxes(request: Request) -> Array:
    """Boxes of tokens on a page, each left, top, right, bottom, up to the edge of the page; int64."""
    edge = getattr(request.config, "max_2d_position_embeddings", 1024)
    corners = request.random.integers(0, edge, (*request.shape("batch", "sequence"), 2, 2))
    near_first: Array = np.sort(corners, axis=-2)
    return near_first.reshape(*near_first.shape[:-2], 4).astype(np.int64)


@generator("position_ids")
def positions(request: Request) -> Array:
    """Positions counted over tokens that are not padding, as ``generate`` counts them; int64."""
    shape = request.shape("batch", "sequence")
    mask = request.made["attention_mask"]
    counted = np.clip(np.cumsum(mask, axis=-1) - 1, 0, None)
    trailing: Array = counted[..., mask.shape[-1] - shape[-1] :]
    return trailing.astype(np.int64)


@generator("past_key_values.*")
def past(request: Request) -> Array:
    """Keys or values of past tokens: (batch, heads, tokens, head size), float32."""
    config = decoder_config(request.config)
    size = getattr(config, "head_dim", None) or config.hidden_size // query_heads(config)
    shape = request.shape("batch", cache_heads(config), "past_sequence", size)
    return request.random.standard_normal(shape, dtype=np.float32)


@generator("encoder_hidden_states")
def encoder_states(request: Request) -> Array:
    """What an encoder gives: (batch, tokens, width), float32."""
    width = getattr(request.config, "encoder", request.config).hidden_size
    return request.random.standard_normal(request.shape("batch", "encoder_sequence", width), dtype=np.float32)


@generator("use_cache_branch")
def cache_branch(request: Request) -> Array:
    """Whether the past counts: one bool, true when there is one."""
    return np.array([request.sizes["past_decoder_sequence"] > 0])


@generator("input_features")
def log_mel(request: Request) -> Array:
    """Log-mel spectrograms after the preprocessor: (batch, mel bins, frames), float32."""
    config = request.config
    # Whisper's encoder halves the frames once: it takes windows of one length only.
    shape = request.shape("batch", config.num_mel_bins, 2 * config.max_source_positions)
    return request.random.uniform(-1.0, 1.5, shape).astype(np.float32)


@generator("input_values")
def waveform(request: Request) -> Array:
    """Sound after the preprocessor, float32: (batch, samples), or (batch, frames, mel bins) where those are read."""
    config = request.config
    spectrogram = getattr(config, "num_mel_bins", None) and getattr(config, "max_length", None)
    rest = (config.max_length, config.num_mel_bins) if spectrogram else ("samples",)
    return request.random.standard_normal(request.shape("batch", *rest), dtype=np.float32)


@generator("bool_masked_pos")
def masked_patches(request: Request) -> Array:
    """Which patches of an image are hidden: (batch, patches), bool."""
    (height, width), (tall, wide) = image_size(request.config), patch_size(request.config)
    return request.random.random(request.shape("batch", (height // tall) * (width // wide))) < 0.4


@generator("pixel_values")
def pixels(request: Request) -> Array:
    """Images after the preprocessor: (batch, channels, height, width), float32."""
    shape = request.shape("batch", num_channels(request.config), *image_size(request.config))
    return request.random.uniform(-2.2, 2.7, shape).astype(np.float32)


@generator("pixel_mask")
def pixel_mask(request: Request) -> Array:
    """1 where a batch of images of several sizes holds image, 0 where it is padding: (batch, height, width), int64."""
    mask = np.ones(request.shape("batch", *image_size(request.config)), np.int64)
    if request.mask != "ones":
        for index, image in enumerate(mask):
            image[image.shape[0] - index * image.shape[0] // (2 * len(mask)) :] = 0
            image[:, image.shape[1] * 3 // 4 :] = 0
    return mask
