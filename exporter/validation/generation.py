"""Whether a cache carries on: text written step by step is the text computed at once, and the text eager writes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, GenerationMixin

from exporter.architectures import Graph
from exporter.inputs import Mask
from exporter.results import Check, ExportError, Status
from exporter.runner import Array
from exporter.validation.budget import Floor, magnitude
from exporter.validation.cases import Case, inputs_of
from exporter.validation.positions import counting
from exporter.validation.reference import Reference
from exporter.validation.relations import Arrays, Compute, Laboratory, refused

__all__ = ["Component", "check_generation"]

PAST, PRESENT = "past_key_values.", "present."

_PROMPT, _STEPS = 7, 4
_NEW_TOKENS = 10


@dataclass(frozen=True)
class Component:
    """One file of a model that writes.

    Attributes:
        graph: Its graph.
        compute: Runs the file, in the graph's names.
        floors: Noise floor by output, of what the file computes in.
        eager_floors: Likewise of eager.
    """

    graph: Graph
    compute: Compute
    floors: Mapping[str, Floor]
    eager_floors: Mapping[str, Floor]

    @property
    def part(self) -> str:
        """What it computes."""
        return self.graph.part

    @property
    def sequence(self) -> str:
        """Name of the axis along which it writes."""
        ids = self.graph.inputs.get("input_ids", {})
        return ids.get(1, "")


@dataclass(frozen=True)
class Decoder:
    """How a text is begun and carried on: one file for both, or one for each.

    Attributes:
        first: Takes no past, or a past of length 0.
        following: Takes the past.
        config: The model's configuration.
        mask: How texts of different length are laid side by side; ``ones``: all are of one length.
        batch: Rows.
    """

    first: Component
    following: Component
    config: Any
    mask: Mask
    batch: int = 3

    def inputs(self, seed: int, length: int) -> dict[str, Array]:
        """Inputs of the first component for a text of some tokens, rows of different length."""
        axes = {name for each in self.first.graph.inputs.values() for name in each.values() if "+" not in name}
        sizes = dict.fromkeys(axes, 5) | {"batch": self.batch, self.first.sequence: length}
        sizes |= {name: 0 for name in axes if name.startswith("past_")}
        return inputs_of(Case("generation", sizes, self.mask, seed), self.first.graph, self.config)

    def at_once(self, run: Callable[[Component, Arrays], Arrays], arrays: Arrays) -> dict[str, Array]:
        """The last position and the cache, computed in one go."""
        return _last(self.first, run(self.first, arrays))

    def in_steps(self, run: Callable[[Component, Arrays], Arrays], arrays: Arrays) -> dict[str, Array]:
        """The same, the prompt first and then token by token."""
        outputs = run(self.first, _window(self.first, arrays, 0, _PROMPT))
        past = _as_past(outputs)
        for position in range(_PROMPT, _PROMPT + _STEPS):
            step = {name: array for name, array in arrays.items() if name in self.following.graph.inputs}
            step = _window(self.following, step, position, position + 1) | past
            outputs = run(self.following, {name: step[name] for name in self.following.graph.inputs})
            past |= _as_past(outputs)
        return {**_last(self.following, outputs), **{PRESENT + name[len(PAST) :]: each for name, each in past.items()}}


def check_generation(
    components: Iterable[Component], reference: Reference, config: Any, seed: int = 0
) -> Iterator[Check]:
    """Checks of everything in a model that takes and gives a cache; none for a model that has none.

    Args:
        components: The files.
        reference: The eager model.
        config: Its configuration.
        seed: Seed of the prompts.
    """
    parts = {each.part: each for each in components}
    decoder = _decoder(parts, reference, config)
    if decoder is None:
        return
    yield _step_by_step(decoder, reference, seed)
    if isinstance(reference.model, GenerationMixin) and "logits" in decoder.following.graph.outputs:
        yield _greedy(decoder, parts.get("encoder"), reference, seed)


def _decoder(parts: Mapping[str, Component], reference: Reference, config: Any) -> Decoder | None:
    if "decoder" in parts:
        return Decoder(parts["decoder"], parts["decoder"], config, _padding(parts["decoder"].graph, reference.model))
    if "decoder_first" in parts and "decoder_next" in parts:
        return Decoder(parts["decoder_first"], parts["decoder_next"], config, "right")  # what an encoder gave
    return None


def _padding(graph: Graph, model: Any) -> Mask:
    """A decoder's own text is padded at its start, unless nobody can tell the file where a text begins."""
    countable = "position_ids" in graph.inputs or "position_ids" not in inspect.signature(model.forward).parameters
    return "left" if countable else "ones"


def _step_by_step(decoder: Decoder, reference: Reference, seed: int) -> Check:
    name = "step by step as at once"
    arrays = decoder.inputs(seed, _PROMPT + _STEPS)

    def eager(component: Component, values: Arrays) -> Arrays:
        return reference.run(component.graph, values)

    def file(component: Component, values: Arrays) -> Arrays:
        return component.compute(values)

    try:
        once, steps = decoder.at_once(eager, arrays), decoder.in_steps(eager, arrays)
    except ExportError as error:
        return Check(name=name, status=Status.PASSED, message=f"not applicable: {error.problem.message}")
    if _apart(decoder, decoder.first.eager_floors, arrays, (once, steps)) > 1:
        return Check(name=name, status=Status.PASSED, message="not applicable: the eager model doesn't obey it")
    try:
        worst = _apart(decoder, decoder.first.floors, arrays, (once, decoder.in_steps(file, arrays)))
    except ExportError as error:
        return refused(name, error)
    except (IndexError, ValueError) as error:  # numpy's, where a file gives less than it should
        return Check(name=name, status=Status.FAILED, message=f"what the file gives can't be carried on: {error}")
    if worst > 1:
        return Check(name=name, status=Status.FAILED, message=f"off by {worst:.3g} times what rounding may do")
    return Check(name=name, status=Status.PASSED)


def _greedy(decoder: Decoder, encoder: Component | None, reference: Reference, seed: int) -> Check:
    """The tokens that ``generate`` writes, written by the files."""
    name = "greedy text as generate writes it"
    try:
        prompt = _prompt(decoder, encoder, seed)
        wanted = _generate(reference.model, prompt, encoder is not None)
    except Exception as error:  # whatever a model's own generate() raises
        return Check(name=name, status=Status.PASSED, message=f"not applicable: {type(error).__name__}: {error}"[:300])
    try:
        states = encoder.compute(prompt) if encoder else {}
        text = wanted[:, : wanted.shape[1] - _NEW_TOKENS]
        ambiguous = 0
        for logits in _write(decoder, prompt, states, text, wanted):
            ambiguous += _disagreements(decoder, logits.values, wanted[:, logits.position], logits.scale)
    except _OtherTokenError as mismatch:
        return Check(name=name, status=Status.FAILED, message=str(mismatch))
    except ExportError as error:
        return refused(name, error)
    except (IndexError, ValueError) as error:  # numpy's, where a file gives less than it should
        return Check(name=name, status=Status.FAILED, message=f"what the file gives can't be carried on: {error}")
    notes = [f"{ambiguous} tokens are ambiguous: rounding decides"] if ambiguous else []
    if decoder.mask == "ones":
        notes.append("texts of one length only: the file takes no `position_ids`, so it counts padding as text")
    return Check(name=name, status=Status.PASSED, message="; ".join(notes))


class _OtherTokenError(Exception):
    """A token that the file would not have written."""


@dataclass(frozen=True)
class _Logits:
    """Scores of the next token: (batch, vocabulary), and the position it goes to."""

    values: Array
    position: int
    scale: float


def _write(decoder: Decoder, prompt: Arrays, states: Arrays, text: Array, wanted: Array) -> Iterator[_Logits]:
    """The file's scores for each new token, given what eager wrote before it.

    What comes next is always eager's token: one token that rounding decided must not excuse all that follow.
    """
    fixed = _fixed(prompt, states)
    mask = prompt.get("attention_mask", np.ones_like(text))
    past: dict[str, Array] = {}
    new = text
    for position in range(text.shape[1], wanted.shape[1]):
        component = decoder.following if past else decoder.first
        values = {**fixed, "input_ids": new, "attention_mask": mask, "position_ids": _positions(mask, new), **past}
        for name, axes in component.graph.inputs.items():
            if name not in values and name.startswith(PAST):
                values[name] = _empty(component, name, axes, decoder)
        outputs = component.compute({name: values[name] for name in component.graph.inputs})
        logits = outputs["logits"][:, -1]
        yield _Logits(logits, position, magnitude(logits, np.ones(logits.shape, bool)))
        past |= _as_past(outputs)
        new = wanted[:, position : position + 1]
        mask = np.concatenate([mask, np.ones_like(new)], axis=1)


def _disagreements(decoder: Decoder, logits: Array, wanted: Array, scale: float) -> int:
    """How many rows chose another token within what rounding may do.

    Raises:
        _OtherTokenError: A row chose another one beyond that.
    """
    allowed = 2 * decoder.following.floors["logits"].tolerance(scale).atol
    chosen = logits.argmax(axis=-1)
    rows = np.arange(len(chosen))
    lead = logits[rows, chosen] - logits[rows, wanted]
    if not np.isfinite(lead).all() or lead.max() > allowed:
        row = int(np.nan_to_num(lead, nan=np.inf).argmax())
        raise _OtherTokenError(
            f"row {row} would go on with token {chosen[row]}, generate writes {wanted[row]}; "
            f"the lead is {lead[row]:.3g}, rounding explains {allowed:.1g}"
        )
    return int((chosen != wanted).sum())


def _prompt(decoder: Decoder, encoder: Component | None, seed: int) -> dict[str, Array]:
    """What `generate` is called with: texts of different length, or what an encoder takes."""
    if encoder is None:
        arrays = decoder.inputs(seed, _PROMPT)
        return {name: arrays[name] for name in ("input_ids", "attention_mask") if name in arrays}
    axes = {name for each in encoder.graph.inputs.values() for name in each.values() if "+" not in name}
    case = Case("generation", dict.fromkeys(axes, 9) | {"batch": decoder.batch}, "right", seed)
    return inputs_of(case, encoder.graph, decoder.config)


def _generate(model: Any, prompt: Arrays, has_encoder: bool) -> Array:
    """Eager's greedy text: (batch, tokens), the prompt or the start token included."""
    own = model.generation_config
    plain = GenerationConfig(
        max_new_tokens=_NEW_TOKENS,
        min_new_tokens=_NEW_TOKENS,
        do_sample=False,
        num_beams=1,
        pad_token_id=own.pad_token_id if own.pad_token_id is not None else 0,
        bos_token_id=own.bos_token_id,
        decoder_start_token_id=own.decoder_start_token_id if has_encoder else None,
        use_cache=True,
    )
    model.generation_config = plain
    try:
        tensors = {name: torch.from_numpy(array) for name, array in prompt.items()}
        with torch.no_grad():
            # The mixin's own: some models replace it by one that adds tokens and rules of a task.
            text = GenerationMixin.generate(model, **tensors, generation_config=plain)
    finally:
        model.generation_config = own
    return np.asarray(text)


def _fixed(prompt: Arrays, states: Arrays) -> dict[str, Array]:
    """What stays the same at every step: what the encoder gave, and its mask."""
    if not states:
        return {}
    fixed = {"encoder_hidden_states": states["last_hidden_state"]}
    if "attention_mask" in prompt:
        fixed["encoder_attention_mask"] = prompt["attention_mask"]
    return fixed


def _positions(mask: Array, new: Array) -> Array:
    positions: Array = np.clip(mask.cumsum(axis=-1) - 1, 0, None)
    return positions[:, -new.shape[1] :]


def _empty(component: Component, name: str, axes: Mapping[int, str], decoder: Decoder) -> Array:
    """Keys or values of no tokens."""
    every = {axis for each in component.graph.inputs.values() for axis in each.values() if "+" not in axis}
    sizes = dict.fromkeys(every, 1) | {"batch": decoder.batch} | {axis: 0 for axis in axes.values() if axis != "batch"}
    alone = replace(component.graph, inputs={name: axes}, outputs={})
    return inputs_of(Case("empty", sizes), alone, decoder.config)[name]


def _window(component: Component, arrays: Arrays, start: int, stop: int) -> dict[str, Array]:
    """Inputs cut to some positions; what covers past and new tokens is cut to all up to there."""
    cut: dict[str, Array] = {}
    for name, array in arrays.items():
        for index, axis in component.graph.inputs.get(name, {}).items():
            parts = [part.strip() for part in axis.split("+")]
            if parts == [component.sequence]:
                array = np.take(array, range(start, stop), axis=index)
            elif component.sequence in parts:
                array = np.take(array, range(stop), axis=index)
        cut[name] = array
    return cut


def _last(component: Component, outputs: Arrays) -> dict[str, Array]:
    """The last position of what has positions, and the cache."""
    result = {}
    for name, array in outputs.items():
        along = [index for index, axis in component.graph.outputs[name].items() if axis == component.sequence]
        cached = name.startswith(PRESENT)
        result[name] = array if cached or not along else np.take(array, [-1], axis=along[0])
    return result


def _as_past(outputs: Arrays) -> dict[str, Array]:
    return {PAST + name[len(PRESENT) :]: each for name, each in outputs.items() if name.startswith(PRESENT)}


def _apart(decoder: Decoder, floors: Mapping[str, Floor], arrays: Arrays, pair: tuple[Arrays, Arrays]) -> float:
    """Distance at positions that count, in units of what rounding may do."""
    component, (once, steps) = decoder.first, pair
    lab = Laboratory(component.graph, decoder.config, {}, floors, floors)
    shared = {name: array for name, array in once.items() if name in steps}
    if any(array.shape != steps[name].shape for name, array in shared.items()):
        return float("inf")
    last = _window(component, arrays, _PROMPT + _STEPS - 1, _PROMPT + _STEPS)
    counts = {
        name: counting(component.graph, arrays if name.startswith(PRESENT) else {**arrays, **last}, name, array.shape)
        for name, array in shared.items()
    }
    return lab.apart(shared, {name: steps[name] for name in shared}, counts)
