"""Types that nobody described: which family they turn out to be, and what is said when they are none."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from transformers import CONFIG_MAPPING, PreTrainedModel

from exporter import inputs, tasks
from exporter.architectures.inferred import Evidence, describe_or_infer, infer
from exporter.eager import GraphModule, evidence_of
from exporter.pipeline import steps
from exporter.pipeline.messages import CheckpointRequest, ExportRequest, ValidateRequest
from exporter.results import ExportError, Status

TEXT = ("input_ids", "attention_mask")

ENCODER = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
    "pad_token_id": 1,
}
DECODER = {**ENCODER, "num_key_value_heads": 2, "max_position_embeddings": 64}
SOUND = {
    **ENCODER,
    "conv_dim": (16, 16),
    "conv_kernel": (5, 3),
    "conv_stride": (4, 2),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
IMAGE = {**ENCODER, "image_size": 32, "patch_size": 8}
TRANSLATOR = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
}


def build(model_type: str, task: str, settings: dict[str, Any]) -> PreTrainedModel:
    config = CONFIG_MAPPING[model_type](**settings)
    auto_class = getattr(transformers, tasks.find(task).auto_classes[0])
    torch.manual_seed(0)
    model: PreTrainedModel = auto_class.from_config(config).eval()
    return model


@pytest.mark.parametrize(
    ("model_type", "task", "settings", "returned", "expected"),
    [
        ("mpnet", "masked-lm", ENCODER, TEXT, TEXT),
        ("megatron-bert", "default", ENCODER, (*TEXT, "token_type_ids"), (*TEXT, "token_type_ids")),
        ("modernbert", "token-classification", {**ENCODER, "local_attention": 4}, TEXT, TEXT),
        ("llama", "causal-lm", DECODER, TEXT, TEXT),
        ("llama", "default", DECODER, (), TEXT),
        ("pegasus", "seq2seq-lm", TRANSLATOR, TEXT, (*TEXT, "decoder_input_ids", "decoder_attention_mask")),
        ("dinov2", "image-classification", IMAGE, ("pixel_values",), ("pixel_values",)),
        ("vit", "masked-im", IMAGE, ("pixel_values",), ("pixel_values",)),
        ("wav2vec2", "ctc", SOUND, ("input_values",), ("input_values",)),
        ("gpt2", "question-answering", {"n_embd": 32, "n_layer": 1, "n_head": 4, "vocab_size": 99}, TEXT, TEXT),
    ],
)
def test_an_undescribed_model_runs_as_inferred(
    model_type: str, task: str, settings: dict[str, Any], returned: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    model = build(model_type, task, settings)
    preprocessor = SimpleNamespace(model_input_names=list(returned))

    architecture, origin = describe_or_infer(model.config, task, False, evidence_of(model, preprocessor))

    assert origin == "inferred"
    assert tuple(architecture.inputs) == expected
    (graph,) = architecture.graphs
    sample = inputs.trace_sample(graph, model.config)
    with torch.no_grad():
        outputs = GraphModule(model, graph)(*[torch.from_numpy(array) for array in sample.values()])
    assert len(outputs) == len(graph.outputs)


def test_a_cache_is_inferred_with_the_heads_that_queries_share() -> None:
    model = build("llama", "causal-lm", DECODER)
    architecture = infer(model.config, "causal-lm-with-past", evidence_of(model))
    (graph,) = architecture.graphs
    sample = inputs.trace_sample(graph, model.config)

    assert list(graph.inputs)[:3] == ["input_ids", "attention_mask", "position_ids"]
    assert sample["past_key_values.1.value"].shape == (2, 2, 5, 8)
    assert list(graph.outputs) == ["logits", *(f"present.{n}.{part}" for n in (0, 1) for part in ("key", "value"))]


def test_positions_that_padding_takes_are_not_promised() -> None:
    model = build("mpnet", "default", ENCODER)
    assert infer(model.config, "default", evidence_of(model)).axis("sequence").maximum == 64


def test_a_registered_type_stays_registered_and_takes_what_its_tokenizer_returns() -> None:
    model = build("distilbert", "default", {"dim": 32, "n_layers": 1, "n_heads": 4, "hidden_dim": 48})
    tokenizer = SimpleNamespace(model_input_names=["input_ids", "token_type_ids", "attention_mask"])

    architecture, origin = describe_or_infer(model.config, "default", False, evidence_of(model, tokenizer))

    assert origin == "registered"
    assert tuple(architecture.inputs) == ("input_ids", "attention_mask", "token_type_ids")
    assert architecture.graphs[0].ignored == ("token_type_ids",), "the model takes it and never reads it"


def test_a_mask_that_the_feature_extractor_leaves_out_is_no_input() -> None:
    model = build("wav2vec2", "default", SOUND)
    extractor = SimpleNamespace(model_input_names=["input_values", "attention_mask"], return_attention_mask=False)
    assert evidence_of(model, extractor).preprocessor == ("input_values",)


def test_an_input_that_cannot_be_made_is_named_with_the_lines_that_would_describe_it() -> None:
    evidence = Evidence(
        "LayoutLMv2Model",
        parameters=("input_ids", "bbox", "image", "attention_mask"),
        preprocessor=("input_ids", "bbox", "attention_mask", "image"),
    )
    with pytest.raises(ExportError, match="LayoutLMv2Model takes 'image'") as caught:
        infer(SimpleNamespace(model_type="layoutlmv2"), "default", evidence)

    hint = caught.value.problem.hint
    code = hint.split("\n\n", 1)[1]
    (described,) = [node for node in ast.parse(code).body if isinstance(node, ast.ClassDef)]
    assert described.name == "LayoutLMv2ModelOnnxConfig"
    assert '"image"' in code
    assert '"input_ids"' in code


def test_a_main_input_of_no_known_kind_is_named() -> None:
    evidence = Evidence(
        "TimeSeriesModel", parameters=("past_values",), required=("past_values",), main_input="past_values"
    )
    with pytest.raises(ExportError, match="'past_values'"):
        infer(SimpleNamespace(model_type="time_series"), "default", evidence)


PATCHES = {
    "num_input_channels": 2,
    "context_length": 32,
    "patch_length": 4,
    "patch_stride": 4,
    "d_model": 16,
    "num_attention_heads": 2,
    "ffn_dim": 16,
    "num_hidden_layers": 1,
}
PICTURES = {
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 99,
    "l_layers": 1,
    "x_layers": 1,
    "r_layers": 1,
    "visual_feat_dim": 8,
}
FILM = {
    "image_size": 16,
    "patch_size": 8,
    "num_frames": 2,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


@pytest.mark.parametrize(
    ("model_type", "settings", "engine", "named", "corrections"),
    [
        (
            "patchtst",
            PATCHES,
            "dynamo",
            "takes 'past_values', and no values for it can be made",
            {
                ', 1: "sequence"}': "}",
                "torch.ones(batch_size, seq_length)": "torch.randn(batch_size, 32, 2)",
                "    @property": '    outputs = {"last_hidden_state": {0: "batch"}}\n\n    @property',
            },
        ),
        (
            "lxmert",
            PICTURES,
            "legacy",
            "takes 'visual_feats', and no values that it accepts could be made",
            {
                '"visual_feats": {0: "batch", 1: "sequence"}': '"visual_feats": {0: "batch"}, '
                '"visual_pos": {0: "batch"}',
                '"visual_feats": torch.ones(batch_size, seq_length)': '"visual_feats": torch.randn(batch_size, 6, 8), '
                '"visual_pos": torch.rand(batch_size, 6, 4)',
                "    @property": '    outputs = {"language_output": {0: "batch", 1: "sequence"}}\n\n    @property',
            },
        ),
        (
            "timesformer",
            FILM,
            "legacy",
            "takes 'pixel_values', and no values that it accepts could be made",
            {', 1: "sequence"}': "}", "torch.ones(batch_size, seq_length)": "torch.randn(batch_size, 2, 3, 16, 16)"},
        ),
    ],
)
def test_the_lines_of_the_message_work_once_their_shapes_are_corrected(
    model_type: str, settings: dict[str, Any], engine: str, named: str, corrections: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "export").mkdir()
    build(model_type, "default", settings).save_pretrained(tmp_path / "checkpoint")
    asked = CheckpointRequest(path=str(tmp_path / "checkpoint"), task="default")
    request = ExportRequest(checkpoint=asked, format="onnx", engine=engine, directory=str(tmp_path / "export"))
    with pytest.raises(ExportError, match=named) as caught:
        steps.export(request)
    prose, _, code = caught.value.problem.hint.partition("\n\n")
    assert len([line for line in code.splitlines() if line]) <= 10

    # The class is valid Python as it stands; only what nobody could know is corrected.
    class_name = prose.partition("export_configs.py:")[2].partition("`")[0]
    for guessed, right in corrections.items():
        assert guessed in code
        code = code.replace(guessed, right)
    (tmp_path / "export_configs.py").write_text(code)
    custom = {"custom_config": f"{tmp_path}/export_configs.py:{class_name}", "allow_custom_code": True}
    asked = asked.model_copy(update=custom)
    reply = steps.export(request.model_copy(update={"checkpoint": asked}))
    judged = steps.validate(ValidateRequest(checkpoint=asked, format="onnx", directory=request.directory))

    assert reply.architecture == "custom"
    assert judged.status is Status.PASSED, judged.log
