"""Functions with a gradient of their own, computed like any other code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.autograd import Function
from torch.autograd.function import FunctionCtx

__all__ = ["forwards_inlined"]


@contextmanager
def forwards_inlined() -> Iterator[None]:
    """While it lasts, ``apply`` of a `torch.autograd.Function` is a plain call of its ``forward``.

    ``torch.jit.trace`` writes down that such a function is called, not what it computes, and ``torch.jit.save`` then
    refuses a call of Python. What the function adds is a way back for gradients, and a file has none.
    """
    usual = Function.__dict__["apply"]
    Function.apply = classmethod(_forward)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        Function.apply = usual  # type: ignore[method-assign]


def _forward(kind: Any, *args: Any, **kwargs: Any) -> Any:
    if kind.setup_context is not Function.setup_context:
        return kind.forward(*args, **kwargs)  # what is kept for gradients is chosen elsewhere
    return kind.forward(_Forgetful(args), *args, **kwargs)


class _Forgetful(FunctionCtx):
    """Takes whatever ``forward`` keeps for gradients."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.needs_input_grad = (False,) * len(args)
