"""Faults planted in an eager model before it is exported: what a wrong patch, cast or rewrite of an exporter does.

They look at modules and attributes, never at a model's name; each returns False where there is nothing to break.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import nn

__all__ = ["MODEL_FAULTS", "ModelFault"]

ModelFault = Callable[[nn.Module], bool]

MODEL_FAULTS: dict[str, ModelFault] = {}


def fault(function: ModelFault) -> ModelFault:
    name = function.__name__.replace("_", "-")

    def without_gradients(model: nn.Module) -> bool:
        with torch.no_grad():
            return function(model)

    MODEL_FAULTS[name] = without_gradients
    return function


def _linears(model: nn.Module) -> list[nn.Module]:
    """Everything that multiplies with a matrix, in order; GPT-2 has a class of its own for it."""
    kinds = ("Linear", "Conv1D")
    return [module for module in model.modules() if type(module).__name__ in kinds and module.weight.dim() == 2]


def _norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if "Norm" in type(module).__name__ and hasattr(module, "weight")]


def _stacks(model: nn.Module) -> Iterator[nn.ModuleList]:
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) > 1 and len({type(each) for each in module}) == 1:
            yield module


@fault
def activation_of_another_kind(model: nn.Module) -> bool:
    for module in model.modules():
        for name, child in module.named_children():
            if "GELU" in type(child).__name__:
                setattr(module, name, nn.SiLU())
                return True
    return False


@fault
def activation_approximated(model: nn.Module) -> bool:
    """GELU by its tanh formula in one layer, or the other way round."""
    for module in model.modules():
        for name, child in module.named_children():
            if "GELU" in type(child).__name__:
                tanh = type(child).__name__ == "NewGELUActivation"
                setattr(module, name, nn.GELU("none" if tanh else "tanh"))
                return True
    return False


@fault
def attention_scale_changed(model: nn.Module) -> bool:
    for module in model.modules():
        for name in ("scaling", "scale"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, getattr(module, name) * 1.005)
                return True
    return False


@fault
def attention_sees_the_future(model: nn.Module) -> bool:
    """Only one layer forgets which way time runs."""
    changed = False
    for module in model.modules():
        if getattr(module, "is_causal", False) is True and not changed:
            usual = module.forward

            def forward(*args, usual=usual, attention_mask=None, **kwargs):
                return usual(*args, attention_mask=None, **kwargs)

            module.is_causal = False
            module.forward = forward
            changed = True
    return changed


@fault
def epsilon_of_every_norm(model: nn.Module) -> bool:
    changed = False
    for module in _norms(model):
        for name in ("eps", "variance_epsilon"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, max(getattr(module, name) * 10, 1e-5))
                changed = True
    return changed


@fault
def epsilon_of_the_last_norm(model: nn.Module) -> bool:
    for module in reversed(_norms(model)):
        for name in ("eps", "variance_epsilon"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, max(getattr(module, name) * 10, 1e-5))
                return True
    return False


@fault
def norm_weight_a_little_larger(model: nn.Module) -> bool:
    norms = _norms(model)
    if norms:
        norms[len(norms) // 2].weight.mul_(1.003)
    return bool(norms)


@fault
def layers_swapped(model: nn.Module) -> bool:
    for stack in _stacks(model):
        first, second = stack[0], stack[1]
        first_state = {name: value.clone() for name, value in first.state_dict().items()}
        second_state = {name: value.clone() for name, value in second.state_dict().items()}
        if first_state.keys() == second_state.keys():
            first.load_state_dict(second_state)
            second.load_state_dict(first_state)
            return True
    return False


@fault
def queries_and_keys_swapped(model: nn.Module) -> bool:
    linears = _linears(model)
    for first, second in itertools.pairwise(linears):
        if first.weight.shape == second.weight.shape:
            first.weight.data, second.weight.data = second.weight.data.clone(), first.weight.data.clone()
            return True
    return False


@fault
def one_weight_in_brain_floats(model: nn.Module) -> bool:
    linears = _linears(model)
    if linears:
        weight = linears[-1].weight
        weight.copy_(weight.to(torch.bfloat16).float())
    return bool(linears)


@fault
def every_weight_in_half_precision(model: nn.Module) -> bool:
    for parameter in model.parameters():
        parameter.copy_(parameter.half().float())
    return True


@fault
def one_weight_a_little_larger(model: nn.Module) -> bool:
    linears = _linears(model)
    if linears:
        linears[len(linears) // 2].weight.mul_(1.003)
    return bool(linears)


@fault
def last_bias_forgotten(model: nn.Module) -> bool:
    for module in reversed(_linears(model)):
        if getattr(module, "bias", None) is not None and module.bias.abs().max() > 0:
            module.bias.zero_()
            return True
    return False


@fault
def positions_end_early(model: nn.Module) -> bool:
    """Positions from 40 on are all the same."""
    for module in model.modules():
        if isinstance(module, nn.Embedding) and 45 < module.num_embeddings < 99:
            module.weight[40:] = module.weight[39]
            return True
    return False


@fault
def dropout_left_on(model: nn.Module) -> bool:
    changed = False
    for module in model.modules():
        if isinstance(module, nn.Dropout) and not changed:
            module.p = 0.001
            # Stays in training mode whatever the model is put into.
            module.train()
            module.train = lambda mode=True, module=module: module
            changed = True
    return changed
