"""Tasks: one thing, several names, told from a class name."""

from __future__ import annotations

import pytest

from exporter import tasks


def test_every_name_means_one_task() -> None:
    names = tasks.names()
    assert len(names) == len(set(names))
    assert all(tasks.find(name).name in {task.name for task in tasks.TASKS} for name in names)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("sequence-classification", "sequence-classification"),
        ("text-classification", "sequence-classification"),
        ("text-generation", "causal-lm"),
        ("text-generation-with-past", "causal-lm"),
        ("feature-extraction", "default"),
        ("fill-mask", "masked-lm"),
        ("automatic-speech-recognition", "speech2seq-lm"),
    ],
)
def test_both_families_of_names_are_known(name: str, canonical: str) -> None:
    assert tasks.find(name).name == canonical


def test_a_misspelt_task_is_answered_with_the_nearest() -> None:
    with pytest.raises(tasks.UnknownTaskError, match="did you mean 'sequence-classification'"):
        tasks.find("sequence-clasification")


def test_a_task_without_cache_has_no_form_with_past() -> None:
    with pytest.raises(tasks.UnknownTaskError, match="drop '-with-past'"):
        tasks.find("masked-lm-with-past")


@pytest.mark.parametrize(
    ("class_name", "task"),
    [
        ("BertForMaskedLM", "masked-lm"),
        ("BertModel", "default"),
        ("GPT2LMHeadModel", "causal-lm"),
        ("FlaubertWithLMHeadModel", "masked-lm"),
        ("XLMForQuestionAnsweringSimple", "question-answering"),
        ("T5ForConditionalGeneration", "seq2seq-lm"),
        ("MarianMTModel", "seq2seq-lm"),
        ("WhisperForConditionalGeneration", "speech2seq-lm"),
        ("VisionEncoderDecoderModel", "vision2seq-lm"),
        ("ViTForImageClassification", "image-classification"),
        ("DetrForSegmentation", "image-segmentation"),
        ("PerceiverForImageClassificationLearned", "image-classification"),
        ("Wav2Vec2ForSequenceClassification", "audio-classification"),
        ("BlipForConditionalGeneration", "vision2seq-lm"),
        ("EncoderDecoderModel", "seq2seq-lm"),
        ("SpeechEncoderDecoderModel", "speech2seq-lm"),
    ],
)
def test_the_longest_suffix_of_a_class_name_decides(class_name: str, task: str) -> None:
    assert tasks.from_architecture(class_name).name == task


def test_an_unknown_class_says_what_to_write() -> None:
    with pytest.raises(tasks.TaskError, match="write `task:` in the manifest"):
        tasks.from_architecture("SomethingElse")
