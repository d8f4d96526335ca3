"""What a tokenizer returns is what a graph takes: `session.run(None, dict(tokenizer(text, return_tensors="np")))`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
import torch
import transformers
from transformers import AutoTokenizer
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name

from exporter import architectures
from exporter.architectures import Architecture
from exporter.architectures.decoder import Decoder
from exporter.architectures.multimodal import Layout
from exporter.architectures.text import TextEncoder
from exporter.pipeline import steps
from exporter.pipeline.messages import CheckpointRequest, ExportRequest
from tests.architectures import tiny

MakeCheckpoint = Callable[[str, str], Path]


def described(model_type: str) -> Architecture:
    feature = architectures.features(model_type)[0]
    return architectures.describe(tiny.config(model_type, feature), feature)


def text_types() -> list[str]:
    """Types that read text alone; those with a layout have a preprocessor that is more than a tokenizer."""
    return [
        name
        for name in architectures.model_types()
        if isinstance(described(name), (TextEncoder, Decoder)) and not isinstance(described(name), Layout)
    ]


@pytest.mark.parametrize("model_type", text_types())
def test_the_inputs_are_what_the_tokenizer_of_the_type_returns(model_type: str) -> None:
    spellings = [name for name in (model_type, model_type.replace("-", "_")) if TOKENIZER_MAPPING_NAMES.get(name)]
    # BLOOM's tokenizer is a file of the `tokenizers` library, without a class of its own.
    class_name = TOKENIZER_MAPPING_NAMES[spellings[0]] if spellings else "PreTrainedTokenizerFast"
    returned = tokenizer_class_from_name(class_name).model_input_names

    assert set(described(model_type).fed_by(returned).inputs) == set(returned)


@pytest.mark.parametrize(
    ("model_type", "tokenizer_class"),
    [
        ("bert", "BertTokenizer"),
        ("distilbert", "BertTokenizer"),  # what a checkpoint that doesn't name its tokenizer gets
        ("deberta", "DebertaTokenizer"),  # returns segments that a DeBERTa without a table of them never reads
        ("roberta", "RobertaTokenizer"),
        ("albert", "AlbertTokenizer"),
    ],
)
def test_a_tokenized_text_runs_unchanged(
    model_type: str, tokenizer_class: str, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(make_checkpoint(model_type, "default"), checkpoint)
    getattr(transformers, tokenizer_class)().save_pretrained(checkpoint)
    (tmp_path / "export").mkdir()
    request = CheckpointRequest(path=str(checkpoint), task="default")
    steps.export(ExportRequest(checkpoint=request, format="onnx", directory=str(tmp_path / "export")))

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "export")
    session = onnxruntime.InferenceSession(str(tmp_path / "export" / "model.onnx"))
    (states,) = session.run(None, dict(tokenizer("a few words", return_tensors="np")))

    with torch.no_grad():
        eager = tiny.build(model_type, "default")(**tokenizer("a few words", return_tensors="pt"))
    torch.testing.assert_close(torch.from_numpy(states), eager.last_hidden_state, atol=1e-5, rtol=1e-5)
