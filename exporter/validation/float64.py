"""Eager models in float64, all of them: also where their code asks for float32 by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["Float64Only"]


class Float64Only(TorchFunctionMode):
    """Inside this context whatever asks for float32 gets float64.

    ``model.double()`` is not enough: T5, Llama and others compute norms, rotary angles or softmax in float32 whatever
    the weights are, which leaves a third to half of the rounding in the reference. A number that code turns into a
    tensor without naming a type is float64 too.
    """

    def __enter__(self) -> Float64Only:
        self._usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        torch.set_default_dtype(self._usual)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.float:
            return args[0].double()
        args = tuple(torch.float64 if arg is torch.float32 else arg for arg in args)
        kwargs = {key: torch.float64 if value is torch.float32 else value for key, value in (kwargs or {}).items()}
        return func(*args, **kwargs)
