"""Every type and feature: exported from a checkpoint on disk, then judged in full, in each format.

`make test` runs a sample, one pair of every family; `make matrix` runs them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter import architectures
from exporter.pipeline import steps
from exporter.pipeline.artifact import read_artifact
from exporter.pipeline.messages import CheckpointRequest, ExportRequest, ValidateRequest
from exporter.results import Status, Validation
from tests.architectures import tiny

MakeCheckpoint = Callable[[str, str], Path]
Record = Callable[[str, object], None]

SAMPLE = frozenset(
    {
        ("bert", "masked-lm"),
        ("big-bird", "question-answering"),
        ("bart", "sequence-classification"),
        ("bart", "causal-lm-with-past"),
        ("beit", "default"),
        ("bloom", "causal-lm-with-past"),
        ("clip", "default"),
        ("deberta", "default"),
        ("detr", "object-detection"),
        ("distilbert", "question-answering"),
        ("gpt2", "causal-lm-with-past"),
        ("gpt2", "sequence-classification"),
        ("imagegpt", "image-classification"),
        ("layoutlmv3", "token-classification"),
        ("longformer", "multiple-choice"),
        ("perceiver", "masked-lm"),
        ("roberta", "multiple-choice"),
        ("segformer", "semantic-segmentation"),
        ("t5", "default"),
        ("t5", "seq2seq-lm-with-past"),
        ("vision-encoder-decoder", "vision2seq-lm-with-past"),
        ("vit", "image-classification"),
        ("whisper", "speech2seq-lm-with-past"),
    }
)


def pairs(with_past: bool) -> Iterator[object]:
    for model_type in architectures.model_types():
        for feature in architectures.features(model_type):
            if with_past or not feature.endswith("-with-past"):
                marks = () if (model_type, feature) in SAMPLE else (pytest.mark.matrix,)
                yield pytest.param(model_type, feature, id=f"{model_type}-{feature}", marks=marks)


@pytest.mark.parametrize(("model_type", "feature"), [*pairs(with_past=True)])
def test_onnx(
    model_type: str, feature: str, make_checkpoint: MakeCheckpoint, tmp_path: Path, record_property: Record
) -> None:
    validation = exported_and_judged(make_checkpoint(model_type, feature), feature, "onnx", tmp_path)
    record_property("engine", read_artifact(tmp_path).engine)
    record_property("cases", len(validation.cases))
    assert validation.status is Status.PASSED, failures(validation)
    assert len(validation.cases) > 4


@pytest.mark.parametrize(("model_type", "feature"), [*pairs(with_past=False)])
def test_torchscript(
    model_type: str, feature: str, make_checkpoint: MakeCheckpoint, tmp_path: Path, record_property: Record
) -> None:
    validation = exported_and_judged(make_checkpoint(model_type, feature), feature, "torchscript", tmp_path)
    record_property("cases", len(validation.cases))
    assert validation.status is Status.PASSED, failures(validation)
    assert not any("WRONG" in note for note in validation.notes), "a trace that is wrong at another size, in silence"


VARIANTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("bart", "seq2seq-lm-with-past", {"decoder_layers": 1, "scale_embedding": True}),
    ("beit", "default", {"use_absolute_position_embeddings": True, "use_relative_position_bias": False}),
    ("bert", "causal-lm", {"is_decoder": False}),
    ("big-bird", "default", {"attention_type": "original_full"}),
    ("deberta", "default", {"position_biased_input": True, "type_vocab_size": 2, "max_relative_positions": 8}),
    ("deberta-v2", "masked-lm", {"position_biased_input": True, "relative_attention": False}),
    ("deberta-v2", "default", {"conv_kernel_size": 3, "type_vocab_size": 2}),
    ("detr", "object-detection", {"position_embedding_type": "learned"}),
    ("gpt2", "sequence-classification", {"pad_token_id": None}),
    ("longt5", "seq2seq-lm-with-past", {"encoder_attention_type": "transient-global"}),
    ("resnet", "default", {"layer_type": "bottleneck"}),
    ("t5", "seq2seq-lm-with-past", {"feed_forward_proj": "gated-gelu", "num_decoder_layers": 1}),
    ("t5", "default", {"tie_word_embeddings": False}),
    (
        "vision-encoder-decoder",
        "vision2seq-lm-with-past",
        {
            "encoder": tiny.config("deit").to_dict(),
            "decoder": tiny.config("bert", "causal-lm", add_cross_attention=True).to_dict(),
        },
    ),
    ("xlm", "default", {"causal": True}),
)


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("model_type", "feature", "changes"),
    [pytest.param(*each, id=f"{each[0]}-{each[1]}-{next(iter(each[2]))}") for each in VARIANTS],
)
def test_other_settings(model_type: str, feature: str, changes: dict[str, Any], tmp_path: Path) -> None:
    settings = tiny.config(model_type, feature, **changes)
    settings.is_decoder = changes.get("is_decoder", getattr(settings, "is_decoder", False))
    tiny.build_anew(settings, feature).save_pretrained(tmp_path / "checkpoint")
    (tmp_path / "export").mkdir()
    validation = exported_and_judged(tmp_path / "checkpoint", feature, "onnx", tmp_path / "export")
    assert validation.status is Status.PASSED, failures(validation)


def exported_and_judged(checkpoint: Path, feature: str, format_name: str, directory: Path) -> Validation:
    asked = CheckpointRequest(path=str(checkpoint), task=feature)
    reply = steps.export(ExportRequest(checkpoint=asked, format=format_name, directory=str(directory)))  # type: ignore[arg-type]
    assert reply.architecture == "registered"
    return steps.validate(ValidateRequest(checkpoint=asked, format=format_name, directory=str(directory)))  # type: ignore[arg-type]


def failures(validation: Validation) -> str:
    """What failed, one line each."""
    lines = [f"{check.name}: {check.message}" for check in validation.checks if check.status is not Status.PASSED]
    for case in validation.cases:
        if case.status is not Status.PASSED:
            off = ", ".join(
                f"{each.output} by {each.max_abs}" for each in case.outputs if each.status is not Status.PASSED
            )
            lines.append(f"{case.case} {case.sizes} {case.mask}: {case.message or off}")
    return "\n".join(lines)
