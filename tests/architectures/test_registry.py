"""The registry: what is described, under which names."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from exporter import architectures, tasks
from exporter.results import ExportError
from tests.architectures import tiny

UNDERSTANDING = {
    "default",
    "masked-lm",
    "sequence-classification",
    "multiple-choice",
    "token-classification",
    "question-answering",
}
WRITING = {"default", "default-with-past", "causal-lm", "causal-lm-with-past"}
TRANSLATING = {"default", "default-with-past", "seq2seq-lm", "seq2seq-lm-with-past"}

# The table of `transformers.onnx` 4.46, the last release that had it, and what is described besides.
ROWS = (
    ({"default", "image-classification"}, "beit convnext convnextv2 data2vec-vision deit imagegpt levit mobilenet-v1"),
    ({"default", "image-classification"}, "mobilenet-v2 mobilevit poolformer resnet swin vit"),
    (
        UNDERSTANDING | {"causal-lm"},
        "bert big-bird camembert electra flaubert rembert roberta roformer xlm xlm-roberta",
    ),
    (UNDERSTANDING | {"causal-lm"}, "xlm-roberta-xl"),
    (UNDERSTANDING, "albert convbert data2vec-text deberta-v2 distilbert ibert longformer mobilebert squeezebert"),
    (UNDERSTANDING - {"multiple-choice"}, "deberta"),
    (UNDERSTANDING - {"multiple-choice", "question-answering"}, "layoutlm"),
    (UNDERSTANDING - {"multiple-choice", "masked-lm"}, "layoutlmv3"),
    (TRANSLATING, "longt5 m2m-100 mt5 t5"),
    (TRANSLATING | WRITING, "blenderbot blenderbot-small marian"),
    (TRANSLATING | WRITING | {"sequence-classification", "question-answering"}, "bart bigbird-pegasus mbart"),
    (WRITING | {"sequence-classification", "token-classification"}, "bloom gpt2"),
    (WRITING | {"sequence-classification"}, "gpt-neo"),
    (WRITING | {"question-answering", "sequence-classification"}, "gptj"),
    (WRITING, "codegen"),
    ({"image-classification", "masked-lm", "sequence-classification"}, "perceiver"),
    ({"default", "image-classification", "semantic-segmentation"}, "segformer"),
    ({"default", "object-detection", "image-segmentation"}, "detr"),
    ({"default", "object-detection"}, "yolos"),
    ({"default", "default-with-past", "speech2seq-lm", "speech2seq-lm-with-past"}, "whisper"),
    ({"vision2seq-lm", "vision2seq-lm-with-past"}, "vision-encoder-decoder"),
    ({"default"}, "clip groupvit owlvit"),
)
TABLE = {name: features for features, names in ROWS for name in names.split()}


def test_the_whole_table_is_described() -> None:
    assert {name: set(architectures.features(name)) for name in architectures.model_types()} == TABLE


def test_every_type_has_a_tiny_model() -> None:
    assert set(tiny.config_types()) == set(architectures.model_types())


@pytest.mark.parametrize("spelling", ["gpt-neo", "gpt_neo"])
def test_a_type_is_found_in_either_spelling(spelling: str) -> None:
    assert "causal-lm-with-past" in architectures.features(spelling)
    config = SimpleNamespace(model_type=spelling, num_hidden_layers=2, max_position_embeddings=64)
    assert architectures.describe(config, "causal-lm").task == "causal-lm"


@pytest.mark.parametrize(
    ("hub_name", "feature"),
    [
        ("feature-extraction", "default"),
        ("text-classification", "sequence-classification"),
        ("fill-mask", "masked-lm"),
        ("text-generation", "causal-lm"),
    ],
)
def test_a_task_is_found_in_either_family_of_names(hub_name: str, feature: str) -> None:
    config = tiny.config("bert")
    assert architectures.describe(config, hub_name).task == feature == tasks.find(hub_name).name


def test_a_name_with_past_asks_for_the_cache() -> None:
    described = architectures.describe(tiny.config("gpt2"), "text-generation-with-past")
    assert described.use_past
    assert "past_key_values.0.key" in described.inputs


@pytest.mark.parametrize(
    ("feature", "changes", "longest"),
    [
        ("masked-lm", {}, 36),
        ("causal-lm", {}, 36),
        ("causal-lm", {"add_cross_attention": True}, 96),
        ("masked-lm", {"attention_type": "original_full"}, 96),
    ],
)
def test_a_big_bird_takes_what_it_looks_at_in_full(feature: str, changes: dict[str, object], longest: int) -> None:
    described = architectures.describe(tiny.config("big-bird", feature, **changes), feature)
    assert described.axis("sequence").maximum == longest


def test_an_unknown_type_is_answered_with_the_nearest() -> None:
    with pytest.raises(ExportError) as caught:
        architectures.features("robreta")
    assert caught.value.problem.hint == "Did you mean 'roberta'?"


@pytest.mark.parametrize("feature", ["object-detection", "masked-lm-with-past", "default-with-past"])
def test_a_feature_that_is_not_described_is_refused(feature: str) -> None:
    with pytest.raises((ExportError, tasks.UnknownTaskError)):
        architectures.describe(tiny.config("bert"), feature)


def test_knowing_about_models_loads_no_library_of_models() -> None:
    code = (
        "import sys; from exporter import architectures; architectures.features('bert'); "
        "print(sorted({'torch', 'transformers', 'numpy', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
