"""TensorFlow checkpoints must give TensorFlow's outputs, and anything that does not fit must be named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import transformers
from transformers import AutoConfig, PreTrainedModel

from exporter.results import ExportError
from exporter.tensorflow import load_into

FIXTURES = Path(__file__).parents[1] / "fixtures" / "tf"
NAMES = sorted(folder.name for folder in FIXTURES.iterdir() if folder.is_dir())
IN_ONE_FILE = [name for name in NAMES if (FIXTURES / name / "tf_model.h5").exists()]
TABLES_OF_ONE_NAME = {"esm-maskedlm"}
"""Keras built a table twice; the layer that tells one from the other is what shards leave out."""
TOLERANCE = 1e-4

QUERY = "bert/tf_bert_model/bert/encoder/layer_._0/attention/self/query/kernel:0"
POOLER = "bert/tf_bert_model/bert/pooler/dense/kernel:0"

Datasets = dict[str, h5py.Dataset]


def build(folder: Path, class_name: str | None = None) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(folder)
    model = getattr(transformers, class_name or config.architectures[0])(config).eval()
    with torch.no_grad():  # whatever is not loaded shows in the outputs
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    return model


def deviation(model: PreTrainedModel, folder: Path) -> float:
    """Largest absolute difference between the model's outputs and TensorFlow's."""
    with np.load(folder / "expected.npz") as arrays:
        inputs = {name[3:]: torch.from_numpy(arrays[name]) for name in arrays if name.startswith("in.")}
        expected = {name[4:]: arrays[name] for name in arrays if name.startswith("out.")}
    with torch.no_grad():
        outputs = model(**inputs)
    assert expected
    return max(float(np.abs(outputs[name].numpy() - values).max()) for name, values in expected.items())


def loaded_deviation(folder: Path) -> float:
    model = build(folder)
    load_into(model, folder)
    return deviation(model, folder)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[[str], Path]:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(FIXTURES / name, tmp_path / name))

    return copy


@contextmanager
def editing(folder: Path) -> Iterator[h5py.File]:
    with h5py.File(folder / "tf_model.h5", "r+") as file:
        yield file


def datasets(file: h5py.File) -> Datasets:
    found: Datasets = {}
    file.visititems(lambda path, item: found.update({path: item}) if isinstance(item, h5py.Dataset) else None)
    return found


def refusal(folder: Path, class_name: str | None = None) -> ExportError:
    with pytest.raises(ExportError) as caught:
        load_into(build(folder, class_name), folder)
    return caught.value


def split(folder: Path, name_in_shard: Callable[[str], str], name_in_index: Callable[[str], str]) -> None:
    """Replace the one file by two shards and an index."""
    with h5py.File(folder / "tf_model.h5") as file:
        weights = {name_in_shard(path): (name_in_index(path), data[()]) for path, data in datasets(file).items()}
    weight_map = {}
    for number, names in enumerate((sorted(weights)[::2], sorted(weights)[1::2]), start=1):
        shard = f"tf_model-{number:05}-of-00002.h5"
        with h5py.File(folder / shard, "w") as file:
            for name in names:
                weight_map[weights[name][0]] = shard
                file[name] = weights[name][1]
    index = {"metadata": {"total_size": sum(data.nbytes for _, data in weights.values())}, "weight_map": weight_map}
    (folder / "tf_model.h5.index.json").write_text(json.dumps(index))
    (folder / "tf_model.h5").unlink()


# What TensorFlow computes


@pytest.mark.parametrize("name", NAMES)
def test_gives_the_outputs_of_tensorflow(name: str) -> None:
    model = build(FIXTURES / name)
    notes = load_into(model, FIXTURES / name)
    assert not [key for key, values in model.state_dict().items() if values.isnan().any()]
    assert deviation(model, FIXTURES / name) < TOLERANCE
    assert bool(notes) == (name in ("albert-maskedlm", "esm-maskedlm"))


def test_square_kernels_are_transposed(checkpoint: Callable[[str], Path]) -> None:
    # The shape can't tell, so the outputs have to: a kernel turned in the file must show.
    folder = checkpoint("bert-base")
    with editing(folder) as file:
        kernel = file[QUERY]
        assert kernel.shape == (32, 32)
        kernel[...] = kernel[()].T
    assert loaded_deviation(folder) > 10 * TOLERANCE


def test_the_weights_of_another_task_fit_where_the_base_is_all_there_is(checkpoint: Callable[[str], Path]) -> None:
    # GPT-2's head is tied, so that a language model holds nothing but the base model.
    folder = checkpoint("gpt2-causallm")
    base = build(folder, "GPT2Model")
    load_into(base, folder)
    whole = build(folder)
    load_into(whole, folder)
    assert torch.equal(base.h[1].mlp.c_fc.weight, whole.transformer.h[1].mlp.c_fc.weight)


# The same weights, kept otherwise


def test_the_order_of_groups_does_not_matter(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("t5-seq2seqlm")
    with h5py.File(folder / "tf_model.h5") as file:
        weights = [(path, data[()]) for path, data in datasets(file).items()]
    with h5py.File(folder / "tf_model.h5", "w", track_order=True) as file:
        for path, values in reversed(weights):
            file[path] = values
    assert loaded_deviation(folder) < TOLERANCE


@pytest.mark.parametrize("name", [name for name in IN_ONE_FILE if name not in TABLES_OF_ONE_NAME])
def test_shards_as_transformers_writes_them(checkpoint: Callable[[str], Path], name: str) -> None:
    folder = checkpoint(name)
    split(folder, lambda path: "/".join(path.split("/")[2:]), lambda path: "/".join(path.split("/")[1:]))
    assert loaded_deviation(folder) < TOLERANCE


@pytest.mark.parametrize("name", ["bert-base", "roberta-maskedlm", "t5-seq2seqlm"])
def test_shards_that_keep_the_layers_of_one_file(checkpoint: Callable[[str], Path], name: str) -> None:
    folder = checkpoint(name)
    split(folder, lambda path: path, lambda path: path)
    assert loaded_deviation(folder) < TOLERANCE


def test_a_layer_next_to_the_main_layer_in_a_shard(checkpoint: Callable[[str], Path]) -> None:
    # Its weights repeat its name: the layer is the scope as well.
    folder = checkpoint("t5-seq2seqlm")
    split(
        folder,
        lambda path: "shared/shared/embeddings:0" if "/shared/" in path else "/".join(path.split("/")[2:]),
        lambda path: path,
    )
    assert loaded_deviation(folder) < TOLERANCE


def test_weights_below_model_weights(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert-base")
    with editing(folder) as file:
        file.move("bert", "model_weights/bert")
        file["optimizer_weights/adam/iter:0"] = np.int64(7)
    assert loaded_deviation(folder) < TOLERANCE


@pytest.mark.parametrize("dtype", ["<f2", "<f8", ">f4"])
def test_other_precisions_and_byte_orders(checkpoint: Callable[[str], Path], dtype: str) -> None:
    folder = checkpoint("bert-sequenceclassification")
    with editing(folder) as file:
        for path, data in datasets(file).items():
            values = data[()].astype(dtype)
            del file[path]
            file.create_dataset(path, data=values, dtype=dtype)
    model = build(folder)
    load_into(model, folder)
    assert model.dtype == torch.float32
    assert deviation(model, folder) < (1e-2 if dtype == "<f2" else TOLERANCE)


def test_a_scope_with_a_number(checkpoint: Callable[[str], Path]) -> None:
    # The second model of its class in a process; and `___` renames a layer.
    folder = checkpoint("bert-sequenceclassification")
    with editing(folder) as file:
        file["bert"].move("tf_bert_for_sequence_classification", "tf_bert_for_sequence_classification_1")
        file.move("classifier", "head___classifier")
        file["head___classifier/tf_bert_for_sequence_classification"].move("classifier", "head___classifier")
    assert loaded_deviation(folder) < TOLERANCE


# Tied weights


def test_a_head_with_values_of_its_own_is_not_tied(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("t5-seq2seqlm")
    kernel = np.random.default_rng(0).standard_normal((32, 99)).astype(np.float32)
    with editing(folder) as file:
        file["lm_head/tft5_for_conditional_generation/lm_head/kernel:0"] = kernel
    model = build(folder)
    (note,) = load_into(model, folder)
    assert note.endswith("kept apart (1): lm_head.weight")
    assert torch.equal(model.lm_head.weight, torch.from_numpy(kernel.T))
    with h5py.File(folder / "tf_model.h5") as file:
        shared = torch.from_numpy(file["shared/shared/shared/embeddings:0"][()])
    for embedding in (model.shared, model.encoder.embed_tokens, model.decoder.embed_tokens):
        assert torch.equal(embedding.weight, shared)


def test_a_head_with_the_values_of_the_embedding_stays_tied(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("t5-seq2seqlm")
    with editing(folder) as file:
        shared = file["shared/shared/shared/embeddings:0"][()]
        file["lm_head/tft5_for_conditional_generation/lm_head/kernel:0"] = shared.T
    model = build(folder)
    assert load_into(model, folder) == ()
    assert model.lm_head.weight is model.shared.weight


def test_one_weight_kept_twice_must_not_differ(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("roberta-maskedlm")
    path = "lm_head/tf_roberta_for_masked_lm/roberta/embeddings/LayerNorm/beta:0"
    with editing(folder) as file:
        file[path][...] += 1
    problem = refusal(folder).problem
    assert problem.kind == "tensorflow-weights"
    assert path in problem.message
    assert path.replace("lm_head/", "roberta/", 1) in problem.message
    assert "roberta.embeddings.LayerNorm.bias" in problem.message


# What does not fit


def test_a_missing_weight_names_the_parameter_and_the_weight(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert-base")
    with editing(folder) as file:
        del file[POOLER]
    problem = refusal(folder).problem
    assert problem.kind == "tensorflow-weights"
    assert f"pooler.dense.weight (32, 32) of torch.float32, expected {POOLER}" in problem.message


def test_missing_running_statistics_are_missing_weights(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("resnet-imageclassification")
    with editing(folder) as file:
        path = next(path for path in datasets(file) if path.endswith("embedder/normalization/moving_variance:0"))
        del file[path]
    message = refusal(folder).problem.message
    assert "parameters without a weight (1): resnet.embedder.embedder.normalization.running_var" in message


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("bert/tf_bert_model/bert/pooler/extra/kernel:0", "pooler.extra.weight"),
        ("other/tf_bert_model/other/dense/kernel:0", "other.dense.weight"),
        ("pooler/tf_bert_model/pooler/extra/kernel:0", "pooler.extra.weight"),
        ("stray:0", "stray"),
    ],
)
def test_a_weight_without_a_home_is_named_with_what_it_would_be(
    checkpoint: Callable[[str], Path], path: str, name: str
) -> None:
    folder = checkpoint("bert-base")
    with editing(folder) as file:
        file[path] = np.zeros((32, 32), np.float32)
    problem = refusal(folder).problem
    assert problem.kind == "tensorflow-weights"
    assert f"weights without a home (1): {path} (32, 32) of float32, would be {name}" in problem.message
    assert "BertModel" in problem.message


def test_a_renamed_weight_is_not_guessed(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert-base")
    with editing(folder) as file:
        file.move(QUERY, QUERY.replace("query", "quarry"))
    message = refusal(folder).problem.message
    assert QUERY.replace("query", "quarry") in message
    assert "encoder.layer.0.attention.self.query.weight" in message


@pytest.mark.parametrize("shape", [(37, 32), (33, 37), (32, 37, 2), (1184,), ()])
def test_a_wrong_shape_names_both_shapes(checkpoint: Callable[[str], Path], shape: tuple[int, ...]) -> None:
    folder = checkpoint("bert-base")
    path = "bert/tf_bert_model/bert/encoder/layer_._0/intermediate/dense/kernel:0"
    with editing(folder) as file:
        assert file[path].shape == (32, 37)
        del file[path]
        file[path] = np.zeros(shape, np.float32)
    problem = refusal(folder).problem
    assert problem.kind == "tensorflow-weights"
    assert f"{path} {shape}" in problem.message
    assert "encoder.layer.0.intermediate.dense.weight (37, 32)" in problem.message


def test_a_huge_shape_is_refused_before_it_is_read(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert-base")
    with editing(folder) as file:
        del file[POOLER]
        file.create_dataset(POOLER, shape=(10**7, 10**7), chunks=(1, 1024), dtype="f4")
    assert "(10000000, 10000000)" in refusal(folder).problem.message


def test_integers_do_not_fill_a_parameter(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert-base")
    with editing(folder) as file:
        values = file[POOLER][()]
        del file[POOLER]
        file[POOLER] = values.astype(np.int32)
    assert "of int32 for pooler.dense.weight (32, 32) of torch.float32" in refusal(folder).problem.message


def test_another_task_is_pointed_out(checkpoint: Callable[[str], Path]) -> None:
    problem = refusal(checkpoint("bert-sequenceclassification"), "BertForMaskedLM").problem
    assert problem.kind == "tensorflow-weights"
    assert "BertForSequenceClassification" in problem.hint


def test_another_architecture_is_told_in_a_few_lines(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert-base")
    shutil.copy(FIXTURES / "xlm-base" / "tf_model.h5", folder / "tf_model.h5")
    message = refusal(folder).problem.message
    assert "weights without a home (36): transformer/" in message
    assert " and 31 more; parameters without a weight (39): embeddings" in message
    assert len(message) < 2500


def test_a_pooler_that_the_head_does_without_is_noted(checkpoint: Callable[[str], Path]) -> None:
    # TensorFlow builds it in any case; early checkpoints of masked language models have one.
    folder = checkpoint("roberta-maskedlm")
    path = "roberta/tf_roberta_for_masked_lm/roberta/pooler/dense/kernel:0"
    with editing(folder) as file:
        file[path] = np.zeros((32, 32), np.float32)
    model = build(folder)
    (note,) = load_into(model, folder)
    assert "RobertaForMaskedLM has no use for (1)" in note
    assert path in note
    assert deviation(model, folder) < TOLERANCE


def test_a_pattern_for_buffers_does_not_cover_weights(checkpoint: Callable[[str], Path]) -> None:
    # GPT-2's class has no use for `attn.bias`, a mask that old checkpoints hold; `c_attn.bias` is something else.
    folder = checkpoint("gpt2-causallm")
    beginning = "transformer/tfgpt2lm_head_model/transformer"
    with editing(folder) as file:
        file[f"{beginning}/h_._0/attn/bias:0"] = np.zeros((1, 1, 64, 64), np.float32)
    (note,) = load_into(build(folder), folder)
    assert "attn/bias:0" in note
    with editing(folder) as file:
        file[f"{beginning}/h_._7/attn/c_attn/bias:0"] = np.zeros((1, 96), np.float32)
    assert "h_._7/attn/c_attn/bias:0" in refusal(folder).problem.message


# Files that are broken, and files that want more than to be read


def test_a_file_cut_short(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert-base")
    file = folder / "tf_model.h5"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    problem = refusal(folder).problem
    assert problem.kind == "truncated-weights"
    assert f"{file} is cut short at" in problem.message


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all", b"PK\x03\x04" + bytes(100)])
def test_a_file_of_another_format(checkpoint: Callable[[str], Path], content: bytes) -> None:
    folder = checkpoint("bert-base")
    (folder / "tf_model.h5").write_bytes(content)
    problem = refusal(folder).problem
    assert problem.kind == "bad-weights"
    assert "is not an HDF5 file" in problem.message


@pytest.mark.parametrize("seed", range(12))
def test_damage_is_an_error_or_harmless_but_never_a_traceback(checkpoint: Callable[[str], Path], seed: int) -> None:
    folder = checkpoint("bert-base")
    file = folder / "tf_model.h5"
    content = bytearray(file.read_bytes())
    random = np.random.default_rng(seed)
    for position in random.integers(8, len(content) // 4, size=20):  # where HDF5 keeps most of its structure here
        content[position] = random.integers(256)
    file.write_bytes(content)
    kind = None
    try:
        load_into(build(folder), folder)
    except ExportError as error:
        kind = error.problem.kind
    assert kind in (None, "bad-weights", "truncated-weights", "tensorflow-weights")


def test_a_git_lfs_pointer(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert-base")
    (folder / "tf_model.h5").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    assert refusal(folder).problem.kind == "lfs-pointer"


def test_no_weights(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert-base")
    (folder / "tf_model.h5").unlink()
    assert refusal(folder).problem.kind == "no-weights"


def test_an_empty_file_lacks_every_weight(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert-base")
    h5py.File(folder / "tf_model.h5", "w").close()
    assert "parameters without a weight (39)" in refusal(folder).problem.message


def test_a_missing_shard(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert-base")
    split(folder, lambda path: path, lambda path: path)
    (folder / "tf_model-00002-of-00002.h5").unlink()
    problem = refusal(folder).problem
    assert problem.kind == "missing-shards"
    assert "tf_model-00002-of-00002.h5" in problem.message


def test_an_index_can_not_lead_out_of_the_folder(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert-base")
    split(folder, lambda path: path, lambda path: path)
    index = folder / "tf_model.h5.index.json"
    index.write_text(index.read_text().replace("tf_model-00001", "../tf_model-00001"))
    assert refusal(folder).problem.kind == "bad-index"


def test_lambdas_in_attributes_are_not_read(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    folder = checkpoint("bert-base")
    layer = {"class_name": "Lambda", "config": {"function": ["gANjcG9zaXgKc3lzdGVtCg==", None, None]}}
    with editing(folder) as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}})
        file.attrs["training_config"] = np.void(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
        file["bert"].attrs["weight_names"] = ["__import__('os').abort()"]
    assert loaded_deviation(folder) < TOLERANCE


@pytest.mark.parametrize(
    "link", [h5py.SoftLink("/bert"), h5py.ExternalLink("/etc/hostname", "/"), h5py.SoftLink("/none")]
)
def test_links_are_not_followed(checkpoint: Callable[[str], Path], link: object) -> None:
    folder = checkpoint("bert-base")
    with editing(folder) as file:
        file["link"] = link
    problem = refusal(folder).problem
    assert problem.kind == "bad-weights"
    assert "link is a link" in problem.message


def test_values_in_other_files_are_not_read(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(4096))
    folder = checkpoint("bert-base")
    with editing(folder) as file:
        del file[POOLER]
        file.create_dataset(POOLER, shape=(32, 32), dtype="f4", external=[(str(secret), 0, 4096)])
    assert "are in another file" in refusal(folder).problem.message
    layout = h5py.VirtualLayout(shape=(32, 32), dtype="f4")
    layout[...] = h5py.VirtualSource(tmp_path / "other.h5", "values", shape=(32, 32))
    with editing(folder) as file:
        del file[POOLER]
        file.create_virtual_dataset(POOLER, layout)
    assert "are in another file" in refusal(folder).problem.message


@pytest.mark.parametrize(
    "values", ["text", np.array([b"bytes"]), np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")])]
)
def test_only_numbers_are_weights(checkpoint: Callable[[str], Path], values: object) -> None:
    folder = checkpoint("bert-base")
    with editing(folder) as file:
        file["bert/note:0"] = values
    problem = refusal(folder).problem
    assert problem.kind == "bad-weights"
    assert "not an array of numbers" in problem.message


def test_a_named_type_is_no_weight(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert-base")
    with editing(folder) as file:
        file["type"] = np.dtype("f4")
    assert refusal(folder).problem.kind == "bad-weights"


def test_a_group_inside_itself_ends(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert-base")
    with editing(folder) as file:
        file["bert/again"] = file["bert"]
    problem = refusal(folder).problem
    assert problem.kind == "bad-weights"
    assert "more groups than any checkpoint" in problem.message
