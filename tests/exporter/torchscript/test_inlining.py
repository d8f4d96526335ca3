"""Functions with a gradient of their own, as a traced file has them: what they compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import Function

from exporter.torchscript.inlining import forwards_inlined

# Written and loaded as users do: with the deprecated functions that this format has.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


class Doubled(Function):
    """Keeps what its gradient needs as it goes."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, factor: float) -> torch.Tensor:
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(value)
        ctx.mark_non_differentiable()
        ctx.factor = factor
        return value * factor

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return gradients[0] * ctx.factor, None


class Squared(Function):
    """Keeps what its gradient needs in a method of its own."""

    @staticmethod
    def forward(value: torch.Tensor) -> torch.Tensor:
        return value * value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return 2 * ctx.saved_tensors[0] * gradients[0]


class Both(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return Squared.apply(Doubled.apply(value, 3.0))  # type: ignore[no-any-return]


def test_a_trace_has_what_they_compute(tmp_path: Path) -> None:
    with torch.no_grad(), forwards_inlined():
        torch.jit.save(torch.jit.trace(Both(), torch.ones(2), check_trace=False), str(tmp_path / "model.pt"))
    values = torch.tensor([1.0, -2.0, 0.5])
    assert torch.jit.load(str(tmp_path / "model.pt"))(values).tolist() == [9.0, 36.0, 2.25]


def test_gradients_are_back_afterwards() -> None:
    with pytest.raises(KeyboardInterrupt), forwards_inlined():
        raise KeyboardInterrupt
    value = torch.tensor([2.0], requires_grad=True)
    Both()(value).backward()
    assert value.grad is not None
    assert value.grad.tolist() == [36.0]
