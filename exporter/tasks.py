"""What a model can be asked to do: one name a task, the other names it is known by, and the class that loads it.

The canonical names are the *features* of ``transformers.onnx`` (``default``, ``masked-lm``, ``causal-lm`` ...). The
task names of the Hub (``fill-mask``, ``text-generation`` ...) are synonyms and mean the same everywhere. A trailing
``-with-past`` is not a task of its own: it asks for the key/value cache as inputs and outputs.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

__all__ = [
    "PAST_SUFFIX",
    "TASKS",
    "Task",
    "TaskError",
    "UnknownTaskError",
    "find",
    "from_architecture",
    "names",
    "nearest",
    "split_past",
]

PAST_SUFFIX = "-with-past"


class TaskError(ValueError):
    """A task that can't be told; the message says why and what to write."""


class UnknownTaskError(TaskError):
    """A name that is no task; the message holds the nearest one."""


@dataclass(frozen=True)
class Task:
    """A task, its names, and how a checkpoint for it is recognised.

    Attributes:
        name: Canonical name.
        synonyms: Other names that mean this task.
        auto_classes: Names of the ``transformers`` auto classes that load a model for it, best first.
        suffixes: Endings of class names in a checkpoint's ``architectures`` that mean this task.
        past: Whether the task has a form with key/value cache.
    """

    name: str
    synonyms: tuple[str, ...]
    auto_classes: tuple[str, ...]
    suffixes: tuple[str, ...]
    past: bool = False


TASKS: tuple[Task, ...] = (
    Task("default", ("feature-extraction",), ("AutoModel",), ("Model",), past=True),
    Task("masked-lm", ("fill-mask",), ("AutoModelForMaskedLM",), ("ForMaskedLM", "WithLMHeadModel")),
    Task("causal-lm", ("text-generation",), ("AutoModelForCausalLM",), ("ForCausalLM", "LMHeadModel"), past=True),
    Task(
        "seq2seq-lm",
        ("text2text-generation", "summarization", "translation"),
        ("AutoModelForSeq2SeqLM",),
        ("ForConditionalGeneration", "MTModel"),
        past=True,
    ),
    Task(
        "sequence-classification",
        ("text-classification", "zero-shot-classification"),
        ("AutoModelForSequenceClassification",),
        ("ForSequenceClassification",),
    ),
    Task("multiple-choice", (), ("AutoModelForMultipleChoice",), ("ForMultipleChoice",)),
    Task("token-classification", ("ner",), ("AutoModelForTokenClassification",), ("ForTokenClassification",)),
    Task(
        "question-answering",
        ("extractive-question-answering",),
        ("AutoModelForQuestionAnswering",),
        ("ForQuestionAnswering", "ForQuestionAnsweringSimple"),
    ),
    Task(
        "image-classification",
        (),
        ("AutoModelForImageClassification",),
        (
            "ForImageClassification",
            "ForImageClassificationWithTeacher",
            "ForImageClassificationLearned",
            "ForImageClassificationFourier",
            "ForImageClassificationConvProcessing",
        ),
    ),
    Task("object-detection", (), ("AutoModelForObjectDetection",), ("ForObjectDetection",)),
    Task("image-segmentation", (), ("AutoModelForImageSegmentation",), ("ForSegmentation",)),
    Task("semantic-segmentation", (), ("AutoModelForSemanticSegmentation",), ("ForSemanticSegmentation",)),
    Task("masked-im", ("masked-image-modeling",), ("AutoModelForMaskedImageModeling",), ("ForMaskedImageModeling",)),
    Task(
        "speech2seq-lm",
        ("automatic-speech-recognition",),
        ("AutoModelForSpeechSeq2Seq",),
        ("ForSpeechSeq2Seq",),
        past=True,
    ),
    Task(
        "vision2seq-lm",
        ("image-to-text", "vision2seq"),
        ("AutoModelForImageTextToText",),
        ("VisionEncoderDecoderModel", "ForVision2Seq"),
        past=True,
    ),
    Task("audio-classification", (), ("AutoModelForAudioClassification",), ("ForAudioClassification",)),
    Task("ctc", ("audio-ctc",), ("AutoModelForCTC",), ("ForCTC",)),
    Task("depth-estimation", (), ("AutoModelForDepthEstimation",), ("ForDepthEstimation",)),
)

_BY_NAME: dict[str, Task] = {name: task for task in TASKS for name in (task.name, *task.synonyms)}

# Endings that mean something else for models that hear or see: beginning, ending, task.
_BY_MODALITY: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("Whisper", "Speech2Text", "Moonshine"), "ForConditionalGeneration", "speech2seq-lm"),
    (("SpeechEncoderDecoder",), "Model", "speech2seq-lm"),
    (("EncoderDecoder",), "Model", "seq2seq-lm"),
    (("Blip", "Pix2Struct", "Kosmos"), "ForConditionalGeneration", "vision2seq-lm"),
    (
        ("Wav2Vec2", "Hubert", "WavLM", "UniSpeech", "SEW", "Data2VecAudio"),
        "ForSequenceClassification",
        "audio-classification",
    ),
)


def names() -> tuple[str, ...]:
    """Every accepted name, canonical ones first, without the ``-with-past`` forms."""
    canonical = tuple(task.name for task in TASKS)
    return canonical + tuple(synonym for task in TASKS for synonym in task.synonyms)


def split_past(name: str) -> tuple[str, bool]:
    """``"causal-lm-with-past"`` -> ``("causal-lm", True)``."""
    if name.endswith(PAST_SUFFIX):
        return name[: -len(PAST_SUFFIX)], True
    return name, False


def nearest(word: str, candidates: tuple[str, ...]) -> str | None:
    """The candidate a person most likely meant, or None when nothing is near."""
    near = difflib.get_close_matches(word.lower().replace("_", "-"), candidates, n=1, cutoff=0.6)
    return near[0] if near else None


def find(name: str) -> Task:
    """The task of a name in either family, with or without ``-with-past``.

    Raises:
        UnknownTaskError: No task has this name, or it has no form with past.
    """
    base, with_past = split_past(name)
    task = _BY_NAME.get(base)
    if task is None:
        near = nearest(base, names())
        raise UnknownTaskError(f"{name!r} is not a task" + (f"; did you mean {near!r}?" if near else ""))
    if with_past and not task.past:
        raise UnknownTaskError(f"{name!r}: the task {task.name!r} has no key/value cache; drop {PAST_SUFFIX!r}")
    return task


def from_architecture(class_name: str) -> Task:
    """The task of a class name such as ``BertForMaskedLM``; the longest matching suffix decides.

    Raises:
        TaskError: No known suffix matches.
    """
    for beginnings, ending, name in _BY_MODALITY:
        if class_name.startswith(beginnings) and class_name.endswith(ending):
            return _BY_NAME[name]
    matches = [(len(suffix), task) for task in TASKS for suffix in task.suffixes if class_name.endswith(suffix)]
    if not matches:
        raise TaskError(f"no task is known for the class {class_name!r}; write `task:` in the manifest")
    return max(matches, key=lambda match: match[0])[1]
