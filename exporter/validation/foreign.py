"""A file of someone else's read as one of a model's graphs: which input is which, and what each output is.

Names are believed where both sides have them. What is left over is taken by position where a size, a rank or a kind of
number doesn't speak against it, and its values are then judged like any other's.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import nn

from exporter.architectures import Axes, Graph
from exporter.architectures.cache import PAST, PRESENT
from exporter.inputs import make, trace_sizes
from exporter.results import Check, ExportError, Status, TensorInfo
from exporter.runner import Array, Runner
from exporter.validation.trial import Trial, try_out

_CACHE = re.compile(r"(?:(?:input|output)\.)?past_key_values\.layers\.(?P<layer>\d+)\.(?P<part>key|value)s")

__all__ = ["Match", "match_foreign", "plain_name"]


@dataclass
class Match:
    """Who is who; grows while it is found out.

    Attributes:
        graph: The graph with the inputs and outputs that both sides have.
        inputs: Name in the file by name in the graph.
        outputs: Likewise.
        idle: Inputs of the file that nothing reads and the model doesn't know.
        fixed: Sizes of axes that the file turned out not to vary, where it declares nothing.
        checks: Whether the names are as they should be.
        notes: What is unusual and no fault.
    """

    graph: Graph
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    idle: tuple[TensorInfo, ...] = ()
    fixed: Mapping[str, int] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fail(self, kind: str, message: str) -> None:
        """Refuse the file."""
        self.checks.append(Check(name=f"{kind} names", status=Status.FAILED, message=message))

    def note_order(self, kind: str, pairs: Mapping[str, str], given: Iterable[str]) -> None:
        """Note another order than the graph's."""
        order = [name for name in given if name in pairs.values()]
        if list(pairs.values()) != order:
            self.notes.append(f"{kind}s come in another order: {', '.join(order)}")


def match_foreign(graph: Graph, runner: Runner, model: nn.Module) -> Match:
    """Match someone else's file with a graph.

    Args:
        graph: What should go in and out.
        runner: The file.
        model: The eager model: its ``forward`` knows inputs that the graph leaves out, its result further outputs.

    Returns:
        A match; one without outputs is of a file that can't be judged, and its checks say why.
    """
    unused = set(runner.contract().unused_inputs) - set(graph.inputs)
    idle = tuple(each for each in runner.inputs if each.name in unused and each.shape)
    read = tuple(each for each in runner.inputs if each not in idle)
    match = Match(_with_extra_inputs(graph, read, model), idle=idle)
    _pair_inputs(match, read, model)
    if match.checks:
        return match
    try:
        trial = try_out(match.graph, model, runner, match.inputs, match.idle)
    except ExportError as error:
        missing = ", ".join(name for name in graph.inputs if name not in match.inputs)
        if not missing:
            raise
        match.fail("input", f"the file has no input {missing}, without which {error.problem.message}")
        return match
    match.fixed = trial.fixed
    if not trial.given and not runner.outputs:
        ran = f"it ran at no size that was tried: {trial.refused}" if trial.refused else "it gives nothing"
        match.fail("output", ran)
        return match
    _pair_outputs(match, runner, trial)
    return match


def _pair_inputs(match: Match, given: tuple[TensorInfo, ...], model: Any) -> None:
    wanted = match.graph.inputs
    pairs = _same(wanted, (each.name for each in given), PAST)
    left = [name for name in wanted if name not in pairs]
    strange = [each for each in given if each.name not in pairs.values()]
    # Where nothing is declared, a file that takes fewer takes the first ones.
    enough = len(strange) == len(left) or (len(strange) < len(left) and not any(each.shape for each in strange))
    made = make(match.graph, trace_sizes(match.graph), model.config) if strange and enough else {}
    if strange and enough and all(_may_be(each, made[name]) for each, name in zip(strange, left, strict=False)):
        found = {name: each.name for name, each in zip(left, strange, strict=False)}
        match.notes.append(f"inputs are taken by position: {_listed(found)}")
        pairs |= found
    elif strange:
        match.fail("input", f"the model knows no input {', '.join(each.name for each in strange)}")
    if missing := [name for name in wanted if name not in pairs]:
        match.notes.append(f"the file has no input {', '.join(missing)}")
    match.inputs = {name: pairs[name] for name in wanted if name in pairs}
    match.note_order("input", match.inputs, (each.name for each in given))
    match.graph = replace(match.graph, inputs={name: wanted[name] for name in match.inputs})


def _may_be(given: TensorInfo, array: Array) -> bool:
    """Whether a tensor of the file can be an input like this, going by what it declares."""
    whole = "iub"
    kind = given.dtype in ("", "bfloat16") or (np.dtype(given.dtype).kind in whole) == (array.dtype.kind in whole)
    return kind and (not given.shape or len(given.shape) == array.ndim)


def _pair_outputs(match: Match, runner: Runner, trial: Trial) -> None:
    declared = bool(runner.outputs)
    given = [each.name for each in runner.outputs] or list(trial.given)
    wanted = match.graph.outputs
    pairs = _same((*wanted, *(name for name in trial.eager if name not in wanted)), given, PRESENT)
    left = [name for name in wanted if name not in pairs]
    strange = [name for name in given if name not in pairs.values()]
    # A tuple's values come in the order of eager's own; names of a file that has some are believed.
    offered = left if declared else [*left, *(name for name in trial.eager if name not in (*wanted, *pairs))]
    found = dict(_in_order(strange, offered, trial))
    if found:
        match.notes.append(f"outputs are taken by position: {_listed(found)}")
        pairs |= found
    _refuse_missing(match, [name for name in wanted if name not in pairs], given, trial)
    if extra := [name for name in given if name not in pairs.values()]:
        match.notes.append(f"the file has another output, which isn't judged: {', '.join(extra)}")
    more = {name: trial.axes[name] for name in pairs if name not in wanted}
    outputs = {name: axes for name, axes in {**wanted, **more}.items() if name in pairs}
    match.outputs = {name: pairs[name] for name in outputs}
    match.note_order("output", match.outputs, given)
    match.graph = replace(match.graph, outputs=outputs)


def _in_order(given: list[str], offered: list[str], trial: Trial) -> Iterator[tuple[str, str]]:
    """What nobody knows by name, as the first that is left and looks alike."""
    free = list(offered)
    for theirs in given:
        name = next((name for name in free if trial.alike(name, theirs)), None)
        if name is not None:
            free.remove(name)
            yield name, theirs


def _refuse_missing(match: Match, missing: list[str], given: list[str], trial: Trial) -> None:
    passed_on = [name for name in missing if trial.passes_on(name, name.replace(PRESENT, PAST, 1))]
    if passed_on:
        match.notes.append(f"the file has no output {', '.join(passed_on)}, which eager only passes on")
    if lost := [name for name in missing if name not in passed_on]:
        match.fail("output", f"the file has no output {', '.join(lost)}; it gives {', '.join(given)}")


def _same(wanted: Iterable[str], given: Iterable[str], cache: str) -> dict[str, str]:
    """Names of the file by names of the graph, where they are the same but for signs that a format doesn't allow."""
    known = {plain_name(name, cache): name for name in given}
    plain = {name: plain_name(name, cache) for name in wanted}
    return {name: known[each] for name, each in plain.items() if each in known}


def plain_name(name: str, cache: str) -> str:
    """A name as tracers and exporters spell it alike: dots, and the cache as transformers' own exporter calls it.

    Args:
        name: Of an input or output.
        cache: What the names of a cache begin with on that side.
    """
    if found := _CACHE.fullmatch(name):
        name = f"{cache}.{found['layer']}.{found['part']}"
    return name.replace(".", "_")


def _listed(pairs: Mapping[str, str]) -> str:
    return ", ".join(f"{theirs} as {ours}" for ours, theirs in pairs.items())


def _with_extra_inputs(graph: Graph, given: tuple[TensorInfo, ...], model: Any) -> Graph:
    """The graph with inputs that the file takes and ``forward`` knows, laid out like the ids."""
    known = inspect.signature(model.forward).parameters
    like: Axes = next((axes for name, axes in graph.inputs.items() if name.endswith("input_ids")), {})
    extra = {
        each.name: like
        for each in given
        if each.name not in graph.inputs
        and each.name in known
        and like
        and (not each.shape or len(each.shape) == len(like))
    }
    return replace(graph, inputs={**graph.inputs, **extra})
