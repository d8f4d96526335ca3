"""What is put in a model's place while it is traced computes the same, and is taken out again."""

from __future__ import annotations

import pytest
import torch

from exporter.traceable import traceable
from tests.architectures.tiny import build


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


def test_a_model_is_itself_again_after_a_failure() -> None:
    model = build("longformer", "default")
    with pytest.raises(KeyboardInterrupt), traceable(model):
        raise KeyboardInterrupt
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_other_models_are_left_alone() -> None:
    with traceable(build("bert", "default")) as rewritten:
        assert not rewritten
