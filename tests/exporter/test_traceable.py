"""What is put in a model's place while it is traced computes the same, and is taken out again."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import nn

from exporter.traceable import traceable
from tests.architectures.tiny import build, build_anew, config


@pytest.mark.parametrize("task", ["default", "sequence-classification", "question-answering"])
@pytest.mark.parametrize(("batch", "length", "padding"), [(1, 3, 0), (2, 8, 3), (3, 13, 5), (2, 30, 1)])
def test_longformer_attends_alike(task: str, batch: int, length: int, padding: int) -> None:
    model = build("longformer", task)
    torch.manual_seed(batch)
    ids = torch.randint(3, 98, (batch, length))
    mask = torch.ones_like(ids)
    if padding:
        mask[-1, -padding:] = 0
    given = {"input_ids": ids, "attention_mask": mask}
    if task != "default":
        given["global_attention_mask"] = (torch.rand(batch, length) < 0.3).long()

    with torch.no_grad():
        before = model(**given)[0]
        with traceable(model) as rewritten:
            during = model(**given)[0]
        after = model(**given)[0]

    assert rewritten
    torch.testing.assert_close(during, before, atol=5e-6, rtol=1e-5)
    torch.testing.assert_close(after, before, atol=0, rtol=0)


def test_the_separators_of_a_pair_say_what_is_global() -> None:
    model = build("longformer", "question-answering")
    ids = torch.tensor([[0, 7, 8, 2, 2, 9, 10, 11, 2], [0, 7, 2, 2, 8, 9, 10, 11, 2]])
    with torch.no_grad():
        before = model(input_ids=ids).start_logits
        with traceable(model):
            during = model(input_ids=ids).start_logits
    torch.testing.assert_close(during, before, atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 30])
def test_deberta_looks_as_far(length: int) -> None:
    model = build_anew(config("deberta", max_relative_positions=8), "default")
    ids = torch.randint(3, 98, (2, length))
    with torch.no_grad():
        before = model(input_ids=ids).last_hidden_state
        with traceable(model):
            during = model(input_ids=ids).last_hidden_state
    torch.testing.assert_close(during, before, atol=0, rtol=0)


@pytest.mark.parametrize("attention", ["local", "transient-global"])
@pytest.mark.parametrize(("batch", "length", "padding"), [(1, 1, 0), (2, 3, 1), (2, 4, 0), (3, 8, 5), (2, 31, 2)])
def test_longt5_splits_alike(attention: str, batch: int, length: int, padding: int) -> None:
    model = build_anew(config("longt5", encoder_attention_type=attention), "default").encoder
    ids = torch.randint(3, 98, (batch, length))
    mask = torch.ones_like(ids)
    if padding:
        mask[-1, -padding:] = 0
    with torch.no_grad():
        before = model(input_ids=ids, attention_mask=mask).last_hidden_state
        with traceable(model):
            during = model(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(during, before, atol=0, rtol=0)


@pytest.mark.filterwarnings("ignore")  # a tracer warns, and reads every property, of which some warn
@pytest.mark.parametrize(
    ("model_type", "changes", "traced"),
    [
        ("deberta", {"max_relative_positions": 8}, 5),
        ("longt5", {}, 8),  # two whole blocks
        ("longt5", {"encoder_attention_type": "transient-global"}, 8),
    ],
)
def test_a_trace_knows_other_lengths(model_type: str, changes: dict[str, Any], traced: int) -> None:
    whole = build_anew(config(model_type, **changes), "default")
    model = whole if model_type == "deberta" else whole.encoder
    with torch.no_grad():
        with traceable(model):
            ids = torch.randint(3, 98, (2, traced))
            script = torch.jit.trace(Ids(model), (ids,), check_trace=False)
        for length in (3, traced, 9, 30):
            ids = torch.randint(3, 98, (2, length))
            torch.testing.assert_close(script(ids), model(input_ids=ids)[0])


class Ids(nn.Module):
    """A model of ids alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=ids, attention_mask=torch.ones_like(ids))[0]  # type: ignore[no-any-return]


def test_functions_are_themselves_again() -> None:
    model = build_anew(config("longt5"), "default")
    file = sys.modules[type(model).__module__]
    before = file._split_into_blocks
    with traceable(model):
        assert file._split_into_blocks is not before
    assert file._split_into_blocks is before


def test_a_model_is_itself_again_after_a_failure() -> None:
    model = build("longformer", "default")
    with pytest.raises(KeyboardInterrupt), traceable(model):
        raise KeyboardInterrupt
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_other_models_are_left_alone() -> None:
    with traceable(build("bert", "default")) as rewritten:
        assert not rewritten
