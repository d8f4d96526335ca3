"""Parts of models that branch on sizes, written without branches, for as long as a model is traced.

A tracer keeps the branch it sees. Where a model's own code can't be traced for all sizes, the same computation is put
in its place while an engine runs, and taken out again. The reference of validation is the model as it was.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MethodType
from typing import Any

import torch
from torch import nn

__all__ = ["traceable"]


@contextmanager
def traceable(model: nn.Module) -> Iterator[bool]:
    """While it lasts, the model computes the same without branching on sizes.

    Yields:
        Whether results agree but for rounding; otherwise to the bit.
    """
    methods, functions = list(_methods(model)), list(_functions(model))
    with ExitStack() as undo:
        for names, name, replacement in (*methods, *functions):
            undo.callback(_put_back, names, name, names.get(name))
            names[name] = replacement
        yield bool(methods)


def _methods(model: nn.Module) -> Iterator[tuple[dict[str, Any], str, Callable[..., Any]]]:
    """For each method to replace: the names of the part that has it, its own name, and what takes its place."""
    for module in model.modules():
        for (kind, name), replacement in _REWRITTEN.items():
            if type(module).__name__ == kind:
                yield module.__dict__, name, MethodType(replacement, module)


def _functions(model: nn.Module) -> Iterator[tuple[dict[str, Any], str, Callable[..., Any]]]:
    """The same for functions, which are names of the file that has the part."""
    for kind in {type(module) for module in model.modules()}:
        names = vars(sys.modules[kind.__module__])
        for (owner, name), replacement in _REWRITTEN_FUNCTIONS.items():
            if kind.__name__ == owner and name in names:
                yield names, name, replacement


def _put_back(names: dict[str, Any], name: str, before: Any) -> None:
    if before is None:
        del names[name]
    else:
        names[name] = before


def _no_padding(_model: Any, **text: Any) -> tuple[Any, ...]:
    """``LongformerModel._pad_to_window_size`` pads a text to whole windows only `if` there is something to pad.

    The attention below takes texts of any length.
    """
    names = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")
    return 0, *(text[name] for name in names)


def _global_question(model: Any, input_ids: torch.Tensor, **named: Any) -> Any:
    """``LongformerForQuestionAnswering.forward`` lists the separators of all rows, as many as there were in the trace.

    The question is global: everything before the first separator.
    """
    places, separator = _first_separator(input_ids, model.config.sep_token_id)
    named.setdefault("global_attention_mask", (places < separator).long())
    return type(model).forward(model, input_ids=input_ids, **named)


def _global_answers(model: Any, input_ids: torch.Tensor, **named: Any) -> Any:
    """``LongformerForMultipleChoice.forward`` looks for the separators of one choice after the other, in a loop.

    An answer is global: everything from two tokens after the first separator on.
    """
    places, separator = _first_separator(input_ids, model.config.sep_token_id)
    named.setdefault("global_attention_mask", (places > separator + 1).long())
    return type(model).forward(model, input_ids=input_ids, **named)


def _first_separator(ids: torch.Tensor, separator: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All positions, and for each text that of its first separator."""
    places = torch.arange(ids.shape[-1], device=ids.device)
    return places, torch.where(ids == separator, places, ids.shape[-1]).amin(dim=-1, keepdim=True)


def _windowed_attention(
    layer: Any,
    hidden_states: torch.Tensor,
    *,
    is_index_masked: torch.Tensor,
    is_index_global_attn: torch.Tensor,
    is_global_attn: bool,
    **_others: Any,
) -> tuple[torch.Tensor]:
    """``LongformerSelfAttention.forward`` chunks by strides and indexes by lists whose lengths a tracer freezes.

    Each token looks at the tokens up to ``attention_window / 2`` away and at every global token; a global token looks,
    through weights of its own, at all tokens. Blocks of queries meet the keys of their own and the two adjacent blocks.

    Shape:
        ``hidden_states``: (batch, tokens, width). ``is_index_masked``, ``is_index_global_attn``: (batch, tokens), bool.
    """
    queries = _heads(layer, layer.query(hidden_states)) / math.sqrt(layer.head_dim)
    keys, values = _heads(layer, layer.key(hidden_states)), _heads(layer, layer.value(hidden_states))
    near = ~(is_index_masked | is_index_global_attn)
    window: int = layer.one_sided_attn_window_size
    scores = _blocks(queries, window) @ _with_neighbours(keys, window).transpose(-1, -2)
    seen = _with_neighbours(near[:, None, :, None], window).transpose(-1, -2) & _band(window, near.device)
    scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    if not is_global_attn:
        context = _unblocked(_softmax(scores) @ _with_neighbours(values, window), hidden_states)
    else:
        chosen = _global_tokens(is_index_global_attn)
        is_chosen = is_index_global_attn.gather(1, chosen)
        global_scores = queries @ _take(keys, chosen).transpose(-1, -2)
        global_scores = global_scores.masked_fill(~is_chosen[:, None, None, :], torch.finfo(scores.dtype).min)
        all_scores = torch.cat((_blocks(global_scores, window), scores), dim=-1)
        shares = _softmax(all_scores)
        count = chosen.shape[1]
        context = _unblocked(shares[..., count:] @ _with_neighbours(values, window), hidden_states)
        context = context + _unblocked(shares[..., :count], hidden_states) @ _take(values, chosen)
    context = _joined(context).masked_fill(is_index_masked[..., None], 0.0)
    if is_global_attn:
        where = chosen[..., None].expand(-1, -1, context.shape[-1])
        answers = _global_attention(layer, hidden_states, where, is_index_masked)
        context = context.scatter(1, where, torch.where(is_chosen[..., None], answers, context.gather(1, where)))
    return (context,)


def _global_attention(
    layer: Any, hidden_states: torch.Tensor, where: torch.Tensor, masked: torch.Tensor
) -> torch.Tensor:
    """What global tokens see: (batch, global tokens, width)."""
    queries = _heads(layer, layer.query_global(hidden_states.gather(1, where))) / math.sqrt(layer.head_dim)
    keys = _heads(layer, layer.key_global(hidden_states))
    scores = queries @ keys.transpose(-1, -2)
    scores = scores.masked_fill(masked[:, None, None, :], torch.finfo(scores.dtype).min)
    return _joined(_softmax(scores) @ _heads(layer, layer.value_global(hidden_states)))


def _global_tokens(is_global: torch.Tensor) -> torch.Tensor:
    """Indices of the global tokens of each row, filled up to the longest row with others: (batch, global tokens).

    There is at least one, if only to be hidden: a text may be padded where its global tokens would be, and a size of 0
    means another thing to the operators that reshape.
    """
    count = is_global.long().sum(dim=1).max().clamp(min=1)
    length = is_global.shape[1]
    first = is_global.long() * length - torch.arange(length, device=is_global.device)
    return torch.sort(first, dim=1, descending=True)[1][:, :count]


def _heads(layer: Any, states: torch.Tensor) -> torch.Tensor:
    """(batch, tokens, width) -> (batch, heads, tokens, head size)."""
    return states.view(*states.shape[:2], layer.num_heads, layer.head_dim).transpose(1, 2)


def _joined(states: torch.Tensor) -> torch.Tensor:
    """(batch, heads, tokens, head size) -> (batch, tokens, width)."""
    return states.transpose(1, 2).flatten(2)


def _softmax(scores: torch.Tensor) -> torch.Tensor:
    return torch.softmax(scores, dim=-1, dtype=torch.float32).type_as(scores)


def _take(states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Some tokens of (batch, heads, tokens, head size)."""
    return states.gather(2, tokens[:, None, :, None].expand(-1, states.shape[1], -1, states.shape[3]))


def _missing(length: int, window: int) -> int:
    """Tokens up to a whole number of blocks."""
    return (window - length % window) % window


def _blocks(states: torch.Tensor, window: int) -> torch.Tensor:
    """(batch, heads, tokens, size) -> (batch, heads, blocks, window, size)."""
    padded = nn.functional.pad(states, (0, 0, 0, _missing(states.shape[2], window)))
    return _in_blocks(padded, window)


def _with_neighbours(states: torch.Tensor, window: int) -> torch.Tensor:
    """(batch, heads, tokens, size) -> (batch, heads, blocks, 3 * window, size): each block between its neighbours."""
    padded = nn.functional.pad(states, (0, 0, window, window + _missing(states.shape[2], window)))
    blocks = _in_blocks(padded, window)
    return torch.cat((blocks[:, :, :-2], blocks[:, :, 1:-1], blocks[:, :, 2:]), dim=3)


def _in_blocks(states: torch.Tensor, window: int) -> torch.Tensor:
    return states.reshape(*states.shape[:2], -1, window, states.shape[-1])


def _unblocked(states: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(batch, heads, blocks, window, size) -> (batch, heads, tokens, size), without the padding of the last block."""
    return states.flatten(2, 3)[:, :, : like.shape[1]]


def _band(window: int, device: torch.device) -> torch.Tensor:
    """Which of its three blocks of keys a query is near enough to: (window, 3 * window), bool."""
    query, key = torch.arange(window, device=device), torch.arange(3 * window, device=device) - window
    return (key[None, :] - query[:, None]).abs() <= window


def _span(query: torch.Tensor, key: torch.Tensor, most: int) -> torch.Tensor:
    """DeBERTa's ``compute_attention_span`` takes the smaller of a length and a setting by comparing them as numbers."""
    return torch.tensor(max(query.size(-2), key.size(-2))).clamp(max=most)


def _split(states: torch.Tensor, window: int, dim: int) -> torch.Tensor:
    """LongT5's ``_split_into_blocks`` pads only `if` there is a rest, and reshapes only `if` nothing is empty.

    A text shorter than a block has no global tokens. The axis to split goes last: a size of 0 then stays at its place,
    where ONNX takes it for what it is.
    """
    # Counted from the first axis: the legacy engine copies negative numbers into the file.
    last, axis = states.ndim - 1, dim % states.ndim
    states = states.movedim(axis, last)
    padded = nn.functional.pad(states, (0, _missing(states.shape[-1], window)))
    blocks = padded.reshape(*states.shape[:-1], padded.shape[-1] // window, window)
    return blocks.movedim((last, last + 1), (axis, axis + 1)).contiguous()


_REWRITTEN: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("LongformerForMultipleChoice", "forward"): _global_answers,
    ("LongformerForQuestionAnswering", "forward"): _global_question,
    ("LongformerModel", "_pad_to_window_size"): _no_padding,
    ("LongformerSelfAttention", "forward"): _windowed_attention,
}
"""What replaces a method, by class and name; results agree but for rounding."""

_REWRITTEN_FUNCTIONS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("DisentangledSelfAttention", "compute_attention_span"): _span,
    ("LongT5LocalAttention", "_split_into_blocks"): _split,
    ("LongT5TransientGlobalAttention", "_split_into_blocks"): _split,
}
"""What replaces a function, by a class of the file that has it and by its name; results agree to the bit."""
