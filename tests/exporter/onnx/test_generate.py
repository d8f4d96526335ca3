"""Greedy decoding over exported files writes the tokens that `model.generate` writes."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import GenerationMixin, PreTrainedModel

from exporter import architectures, inputs
from exporter.architectures.seq2seq import EncoderDecoder
from exporter.onnx import OnnxOptions, export_graphs, open_model
from exporter.onnx.generate import EncoderDecoderFiles, GreedySearch, write_answer, write_text
from exporter.onnx.merge import merge_decoders
from exporter.results import ExportError
from exporter.runner import Array
from tests.architectures.tiny import build

NEW_TOKENS = 20


def talkative(model_type: str, task: str) -> PreTrainedModel:
    """A tiny model with an output layer of its own: one that is tied to the embeddings repeats a single token."""
    model = copy.deepcopy(build(model_type, task))
    writer = getattr(model, "decoder", model) if model_type == "vision-encoder-decoder" else model
    old = writer.get_output_embeddings()
    head = torch.nn.Linear(old.in_features, old.out_features, bias=False)
    torch.nn.init.normal_(head.weight, std=1.0, generator=torch.Generator().manual_seed(1))
    writer.set_output_embeddings(head)
    return model


def written_by_the_model(model: PreTrainedModel, given: dict[str, Array]) -> Array:
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}
    with torch.no_grad():
        # Whisper's own `generate` splits long recordings; underneath is the same search as everywhere.
        text = GenerationMixin.generate(model, **tensors, do_sample=False, num_beams=1, max_new_tokens=NEW_TOKENS)
    result: Array = text.numpy()
    return result


def search_of(model: PreTrainedModel) -> GreedySearch:
    return GreedySearch.from_config(model.generation_config, NEW_TOKENS)


@pytest.mark.parametrize("model_type", ["gpt2", "bloom"])
def test_a_decoder_continues_a_text(model_type: str, tmp_path: Path) -> None:
    model = talkative(model_type, "causal-lm")
    architecture = architectures.describe(model.config, "causal-lm-with-past")
    (file,) = export_graphs(model, architecture.graphs, OnnxOptions(engine="legacy"), tmp_path)
    plain = architectures.describe(model.config, "causal-lm")
    for batch, length in ((1, 4), (3, 7)):
        sizes = {"batch": batch, "sequence": length}
        prompt = inputs.make(plain.whole, sizes, model.config, "left", seed=batch)
        text = write_text(open_model(file), prompt, search_of(model))
        assert text.tolist() == written_by_the_model(model, prompt).tolist()
        assert len(np.unique(text[:, length:])) > 2, "a model that repeats one token would show nothing"


@pytest.mark.parametrize(
    ("model_type", "task"),
    [
        ("t5", "seq2seq-lm"),
        ("bart", "seq2seq-lm"),
        ("whisper", "speech2seq-lm"),
        ("vision-encoder-decoder", "vision2seq-lm"),
    ],
)
@pytest.mark.parametrize("merged", [False, True])
def test_an_encoder_decoder_answers(model_type: str, task: str, merged: bool, tmp_path: Path) -> None:
    model = talkative(model_type, task)
    architecture = architectures.describe(model.config, f"{task}-with-past")
    assert isinstance(architecture, EncoderDecoder)
    encoder, first, following = export_graphs(model, architecture.graphs, OnnxOptions(engine="legacy"), tmp_path)
    if merged:
        assert architecture.merged
        joined = merge_decoders(first, following, tmp_path / "decoder_model_merged.onnx", architecture.merged)
        assert joined.stat().st_size < 0.9 * (first.stat().st_size + following.stat().st_size), "weights are shared"
        files = EncoderDecoderFiles(open_model(encoder), open_model(joined))
    else:
        files = EncoderDecoderFiles(open_model(encoder), open_model(first), open_model(following))

    for batch, length in ((1, 4), (3, 9)):
        sizes = {"batch": batch, "encoder_sequence": length}
        given = inputs.make(architecture.graphs[0], sizes, model.config, "right", seed=batch)
        answer = write_answer(files, given, search_of(model))
        assert answer.tolist() == written_by_the_model(model, given).tolist()
        assert len(np.unique(answer)) > 2, "a model that repeats one token would show nothing"


def test_the_search_obeys_the_generation_config() -> None:
    config = SimpleNamespace(
        eos_token_id=[4, 5], suppress_tokens=[2], begin_suppress_tokens=[1], forced_bos_token_id=None
    )
    search = GreedySearch.from_config(config, max_new_tokens=3)
    logits = np.array([[0.0, 3.0, 4.0, 1.0, 2.0, 0.0]])

    assert search.choose(logits, 0).tolist() == [4]
    assert search.choose(logits, 1).tolist() == [1]
    assert search.end == (4, 5)
    assert search.pad == 4

    forced = GreedySearch(max_new_tokens=3, forced_first=3, forced_last=5)
    assert [forced.choose(logits, step).tolist() for step in range(3)] == [[3], [2], [5]]


def test_an_encoder_decoder_without_a_start_token_says_so() -> None:
    class Silent:
        inputs = outputs = ()

        def run(self, given: dict[str, Array]) -> dict[str, Array]:
            return {"last_hidden_state": np.zeros((1, 2, 3))}

    files = EncoderDecoderFiles(Silent(), Silent())  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="which token a text begins with"):
        write_answer(files, {}, GreedySearch(3))
