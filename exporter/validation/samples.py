"""Real inputs: text in several scripts, pictures and sounds through the model's preprocessor, and the user's samples.

Ids drawn at random never look like a sentence, and a mask that was made for a test never looks like what a tokenizer
makes. What the preprocessor doesn't give (a past, decoder ids) is made as in every other case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from exporter.architectures import Graph
from exporter.architectures.sizes import decoder_config
from exporter.inputs import make
from exporter.manifest import SamplesError, read_samples
from exporter.results import ExportError
from exporter.runner import Array
from exporter.validation.cases import Case

__all__ = ["TEXTS", "Preprocessing", "real_cases", "user_cases"]

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю!",
    "いろはにほへと ちりぬるを",
    "نص عربي حكيم له سر قاطع",
    "price: 3.14 €, e-mail: a.b@example.org 🙂",
)
"""Sentences of different length in several scripts."""

_PAIRED_WITH = ("It runs.", "Nobody saw it.")
_SOUND_SECONDS = 1.3
_LONGEST_TEXT = 128
_PRECISE_VALUES = 200_000


@dataclass(frozen=True)
class Preprocessing:
    """How raw inputs become inputs of a graph.

    Attributes:
        preprocessor: Tokenizer, processor, image processor or feature extractor.
        graph: The graph.
        config: The model's configuration.
        static: Sizes that the file insists on, by axis name.
        seed: Seed of what the preprocessor doesn't give.
    """

    preprocessor: Any
    graph: Graph
    config: Any
    static: Mapping[str, int]
    seed: int = 0

    def part(self, name: str) -> Any:
        """The component of a processor, or the preprocessor itself."""
        return getattr(self.preprocessor, name, self.preprocessor)

    @property
    def takes(self) -> tuple[str, ...]:
        """What kinds of raw input the graph needs: ``text``, ``image``, ``sound``."""
        kinds = {"input_ids": "text", "pixel_values": "image", "input_features": "sound", "input_values": "sound"}
        return tuple(kind for name, kind in kinds.items() if name in self.graph.inputs)

    def encoded(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> dict[str, Array]:
        """What the tokenizer makes of texts: padded to the longest, or to the size that the file insists on."""
        tokenizer = self.part("tokenizer")
        if getattr(tokenizer, "pad_token", "") is None:
            # Without a token for padding every row has to be as long as the others.
            texts, pairs = texts[:1], pairs[:1] if pairs else None
        length = self.static_length
        options: dict[str, Any] = {"padding": "max_length" if length else len(texts) > 1, "truncation": True}
        return _arrays(
            tokenizer(
                list(texts),
                *([list(pairs)] if pairs else []),
                max_length=length or self._longest(tokenizer),
                return_tensors="np",
                **options,
            )
        )

    def pictured(self, images: Sequence[Any]) -> dict[str, Array]:
        """What the image processor makes of images."""
        return _arrays(self.part("image_processor")(images=list(images), return_tensors="np"))

    def heard(self, sounds: Sequence[Array]) -> dict[str, Array]:
        """What the feature extractor makes of sounds, mono, in its own sampling rate."""
        extractor = self.part("feature_extractor")
        return _arrays(extractor(list(sounds), sampling_rate=extractor.sampling_rate, return_tensors="np"))

    def case(self, name: str, given: Mapping[str, Array]) -> tuple[Case, dict[str, Array]]:
        """A case from what a preprocessor gave; the rest of the graph's inputs is made.

        Raises:
            ExportError: An id is beyond the model's vocabulary.
        """
        shaped = {key: self._shaped(key, array) for key, array in given.items() if key in self.graph.inputs}
        sizes = {axis: 0 if axis.startswith("past_") else 3 for axis in self._axes()} | dict(self.static)
        for key, array in shaped.items():
            sizes |= {axis: array.shape[at] for at, axis in self.graph.inputs[key].items() if "+" not in axis}
        arrays = make(self.graph, sizes, self.config, "ones", self.seed) | shaped
        ids, vocabulary = arrays.get("input_ids"), getattr(decoder_config(self.config), "vocab_size", None)
        if ids is not None and vocabulary and ids.max(initial=0) >= vocabulary:
            raise ExportError("samples", f"the tokenizer gives the id {ids.max()}, the model knows {vocabulary} ids.")
        if "position_ids" in self.graph.inputs and "attention_mask" in shaped:
            counted = np.clip(shaped["attention_mask"].cumsum(axis=-1) - 1, 0, None)
            arrays["position_ids"] = counted[..., -arrays["position_ids"].shape[-1] :].astype(np.int64)
        arrays = {key: arrays[key] for key in self.graph.inputs}
        small = sum(array.size for array in arrays.values()) < _PRECISE_VALUES
        return Case(name, sizes, seed=self.seed, precise=small), arrays

    def _axes(self) -> set[str]:
        return {axis for axes in self.graph.inputs.values() for axis in axes.values() if "+" not in axis}

    def _shaped(self, name: str, array: Array) -> Array:
        """Rows of texts as rows of choices, where the graph has choices."""
        axes = self.graph.inputs[name]
        if 1 in axes and axes[1] == "num_choices" and array.ndim == 2:
            choices = self.static.get("num_choices", 2)
            array = array[: len(array) // choices * choices]
            array = array.reshape(-1, choices, array.shape[-1])
        return array

    @property
    def static_length(self) -> int | None:
        """How long the file wants texts to be; None where it takes any length."""
        return self.static.get(self._text_axis)

    @property
    def _text_axis(self) -> str:
        axes = self.graph.inputs["input_ids"]
        return axes.get(max(axes, default=0), "")

    def _longest(self, tokenizer: Any) -> int:
        known = self.graph.ranges.get(self._text_axis)
        limits = [known.maximum if known else None, getattr(tokenizer, "model_max_length", None), _LONGEST_TEXT]
        return min(limit for limit in limits if limit)


def real_cases(preprocessing: Preprocessing) -> Iterator[tuple[Case, dict[str, Array]]]:
    """Text, pictures and sounds of our own, through the preprocessor.

    Raises:
        ExportError: The preprocessor doesn't take them; a reader should know, but it is no fault of the file.
    """
    rows = preprocessing.static.get("batch", len(TEXTS))
    makers: Mapping[str, Callable[[], dict[str, Array]]] = {
        "text": lambda: preprocessing.encoded(_rows(TEXTS, rows)),
        "image": lambda: preprocessing.pictured(_rows(_images(), preprocessing.static.get("batch", 2))),
        "sound": lambda: preprocessing.heard(_rows(_sounds(preprocessing), preprocessing.static.get("batch", 2))),
    }
    kinds = preprocessing.takes
    if len(kinds) == 1:
        yield preprocessing.case(f"real-{kinds[0]}", _tried(makers[kinds[0]]))
        if "token_type_ids" in preprocessing.graph.inputs:
            pairs = _rows(TEXTS, min(rows, 2)), _rows(_PAIRED_WITH, min(rows, 2))
            yield preprocessing.case("real-text-pairs", _tried(lambda: preprocessing.encoded(*pairs)))
    elif kinds == ("text", "image"):
        yield preprocessing.case("real-text-image", _tried(makers["text"]) | _tried(makers["image"]))


def user_cases(path: Path, preprocessing: Preprocessing) -> Iterator[tuple[Case, dict[str, Array]]]:
    """One case for each sample of a user.

    Raises:
        ExportError: The samples can't be read, or the preprocessor doesn't take them.
    """
    try:
        samples = read_samples(path)
    except SamplesError as error:
        raise ExportError("samples", f"{error}.") from None
    rows = preprocessing.static.get("batch", 1)
    for number, text in enumerate(samples.texts, start=1):
        yield preprocessing.case(f"sample-{number}", _tried(partial(preprocessing.encoded, [text] * rows)))
    for number, fields in enumerate(samples.fields, start=1):
        yield preprocessing.case(f"sample-{number}", _tried(partial(_called, preprocessing, fields)))
    for number, file in enumerate(samples.files, start=1):
        if samples.kind == "images":
            encode = partial(preprocessing.pictured, [_read_image(file)] * rows)
        else:
            encode = partial(preprocessing.heard, [_read_sound(file, preprocessing)] * rows)
        yield preprocessing.case(f"sample-{number}", _tried(encode))


def _tried(make_arrays: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    try:
        return make_arrays()
    except ExportError:
        raise
    except Exception as error:  # whatever a preprocessor's own code raises for what it can't take
        lines = str(error).strip().splitlines() or [""]
        raise ExportError("samples", f"the preprocessor refuses: {type(error).__name__}: {lines[0]}") from error


def _called(preprocessing: Preprocessing, fields: Mapping[str, Any]) -> dict[str, Array]:
    length = preprocessing.static_length if "input_ids" in preprocessing.graph.inputs else None
    padding = {"padding": "max_length", "max_length": length, "truncation": True} if length else {}
    batched = {name: [value] if isinstance(value, str) else value for name, value in fields.items()}
    return _arrays(preprocessing.preprocessor(**batched, **padding, return_tensors="np"))


def _arrays(given: Any) -> dict[str, Array]:
    """A preprocessor's result as arrays of the types that models take."""
    result = {}
    for name, value in dict(given).items():
        array = np.asarray(value)
        if array.dtype.kind in "iub":
            result[name] = array.astype(np.int64)
        elif array.dtype.kind == "f":
            result[name] = array.astype(np.float32)
    return result


def _rows(values: Sequence[Any], count: int) -> list[Any]:
    """As many as asked, from the start again when there are not enough."""
    return [values[index % len(values)] for index in range(count)]


def _images() -> list[Any]:
    """Pictures with a gradient of another direction in each channel; one tall, one wide."""
    from PIL import Image

    pictures = []
    for height, width in ((97, 61), (64, 111)):
        rows, columns = np.mgrid[0:height, 0:width]
        channels = (rows * 255 / height, columns * 255 / width, (rows * 7 + columns * 3) % 256)
        pictures.append(Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8)))
    return pictures


def _sounds(preprocessing: Preprocessing) -> list[Array]:
    """Two rising tones in the sampling rate of the feature extractor."""
    rate = preprocessing.part("feature_extractor").sampling_rate
    time = np.arange(int(rate * _SOUND_SECONDS)) / rate
    return [np.sin(2 * np.pi * (start + 300 * time) * time).astype(np.float32) * 0.5 for start in (220, 440)]


def _read_image(path: Path) -> Any:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, ValueError) as error:
        raise ExportError("samples", f"{path.name} is no image that can be read: {error}.") from None


def _read_sound(path: Path, preprocessing: Preprocessing) -> Array:
    import soundfile

    try:
        sound, rate = soundfile.read(path, dtype="float32")
    except (OSError, RuntimeError) as error:
        raise ExportError("samples", f"{path.name} is no sound that can be read: {error}.") from None
    wanted = preprocessing.part("feature_extractor").sampling_rate
    if rate != wanted:
        raise ExportError(
            "samples", f"{path.name} has {rate} samples a second, the model takes {wanted}.", "Resample the file."
        )
    mono: Array = sound.mean(axis=-1) if sound.ndim > 1 else sound
    return mono
