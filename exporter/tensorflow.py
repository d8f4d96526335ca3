"""TensorFlow checkpoints (``tf_model.h5``, also sharded) read into a PyTorch model, without TensorFlow.

Both layouts that transformers 4 writes are understood: one file as Keras' ``save_weights`` makes it, whose paths are
``layer/scope/name:0``, and shards with an index, whose paths are ``name:0``. They are HDF5 and read as data:
attributes, where Keras keeps a model's configuration and its lambdas, are never opened, nor is any other file.

A weight finds its home by its name. No table of models is involved, only conventions:

- ``a_._0/b`` and ``a.0/b`` are both ``a.0.b``; ``x___y`` is ``y``; ``:0`` numbers an output and says nothing.
- ``kernel``, ``gamma`` and ``embeddings`` are ``weight``, ``beta`` is ``bias``, ``moving_mean`` and
  ``moving_variance`` are ``running_mean`` and ``running_var``.
- Kernels end with (input, output) channels in Keras and begin with (output, input) channels in PyTorch.
- A TensorFlow model keeps its layers in a main layer with a name of its own, which PyTorch's base models don't have.
- Names have changed since transformers 4; the library's own renamings for old checkpoints lead to today's.

Every weight must have a home of its shape, and every parameter a weight. What is left over on either side is an error,
except what a model declares to compute itself, and what its base model leaves out below a head, such as a pooler.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming

from exporter.checkpoint_files import refuse_lfs_pointers, refuse_missing_shards, shard_names
from exporter.results import ExportError

__all__ = ["load_into"]

_FILE = "tf_model.h5"
_INDEX = "tf_model.h5.index.json"
_WHOLE_MODEL = "model_weights/"  # where Keras' `save` puts what `save_weights` puts at the top

_LEAVES = {
    "kernel": "weight",
    "gamma": "weight",
    "embeddings": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    # A separable convolution is one Keras layer with two kernels, and two PyTorch modules with one each.
    "depthwise_kernel": "depthwise.weight",
    "pointwise_kernel": "pointwise.weight",
}
_SIBLINGS = {"kernel": "bias", "bias": "kernel", "gamma": "beta", "beta": "gamma"}

# Levels in front of a weight's own name: layer and scope in a Keras file, none in a shard.
_LEVELS = (2, 0)

# Far above any model; hard links can make a small file endless, in breadth or in depth.
_MAX_OBJECTS = 200_000
_MAX_PATH = 1_000
_MAX_TOLD = 5


@dataclass(frozen=True)
class _Weight:
    """A weight as a file holds it: `path` says where, `data` is an ``h5py.Dataset``, read on demand."""

    file: Path
    path: str
    data: Any

    @cached_property
    def leaf(self) -> str:
        return re.sub(r":\d+$", "", self.path.rpartition("/")[2])

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes in the order in which PyTorch keeps them."""
        rank = self.data.ndim
        if rank >= 2 and self.leaf in ("kernel", "pointwise_kernel"):
            return (rank - 1, rank - 2, *range(rank - 2))
        if rank >= 2 and self.leaf == "depthwise_kernel":  # ends with (channels, multiplier)
            return (rank - 2, rank - 1, *range(rank - 2))
        return tuple(range(rank))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in PyTorch's order."""
        return tuple(self.data.shape[axis] for axis in self.axes)

    @property
    def borrower(self) -> str:
        """The layer that lists this weight though it is another's (a head that uses the embeddings); else empty."""
        layer, _, path = self.path.partition("/")
        layer = layer.rpartition("___")[2]
        return layer if path.count("/") > 1 and path.split("/")[1] != layer else ""

    def __str__(self) -> str:
        return f"{_short(self.path)} {tuple(self.data.shape)} of {self.data.dtype}"


_Names = tuple[str, ...]  # what a weight may be called in the model, the likeliest first
_Placed = tuple[_Weight, str]
_Item = TypeVar("_Item")


def load_into(model: PreTrainedModel, folder: Path) -> tuple[str, ...]:
    """Give `model` the weights of the TensorFlow checkpoint in `folder`, in place.

    Args:
        model: Built from the checkpoint's config, on the CPU, with its weights tied as the config says.
        folder: Holds ``tf_model.h5``, or ``tf_model.h5.index.json`` and the shards it names.

    Returns:
        What a reader of the report should know; empty when there is nothing to say.

    Raises:
        ExportError: ``tensorflow-weights`` where weights and parameters don't fit together one to one; ``no-weights``,
            ``bad-weights``, ``truncated-weights``, ``bad-index``, ``missing-shards`` or ``lfs-pointer`` for files that
            can't be read.
    """
    with ExitStack() as stack:
        weights = [weight for file in _files(folder) for weight in _weights(file, stack.enter_context(_opened(file)))]
        homes = _Homes(model)
        names = _names(weights, homes)
        placed = [(weight, home) for weight in weights if (home := homes.find(names[weight]))]
        homeless = [weight for weight in weights if not homes.find(names[weight])]
        unused = [weight for weight in homeless if homes.ignore(names[weight])]
        lost = {weight: names[weight] for weight in homeless if not homes.ignore(names[weight])}
        _refuse_leftovers(model, homes, placed, lost)
        untied = _fill(model, homes, placed)
    return (
        *_some(f"TensorFlow weights that {type(model).__name__} has no use for", unused, str),
        *_some("Tied in the model, but not in the TensorFlow checkpoint, and so kept apart", untied, str),
    )


class _Homes:
    """The tensors of a model, found by the names that they have or had."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.tensors: dict[str, Tensor] = model.state_dict(keep_vars=True)
        # Where models begin: an encoder and a decoder may each be a model that TensorFlow puts in a main layer.
        self.models = [
            f"{path}." if path else "" for path, module in model.named_modules() if isinstance(module, PreTrainedModel)
        ]
        self._renamings = [step for step in get_model_conversion_mapping(model) if isinstance(step, WeightRenaming)]
        self._base = model.base_model
        self._prefix = next((f"{path}." for path, module in model.named_modules() if path and module is self._base), "")
        self._unexpected = _patterns(model._keys_to_ignore_on_load_unexpected)
        self._computed = _patterns(model._keys_to_ignore_on_load_missing)
        self._current: dict[str, str] = {}

    def find(self, names: _Names) -> str | None:
        """The tensor that one of `names` stands for."""
        candidates = (candidate for name in names for candidate in (self._today(name), name))
        return next((candidate for candidate in candidates if candidate in self.tensors), None)

    def ignore(self, names: _Names) -> bool:
        """Whether the model has no use for a weight with one of `names`, though it knows it.

        Its class says so, or the base model has it and leaves it out below this head (a pooler, often).
        """
        candidates = [candidate for name in names for candidate in (self._today(name), name)]
        declared = any(pattern.search(candidate) for pattern in self._unexpected for candidate in candidates)
        return declared or any(candidate in self._left_out for candidate in candidates)

    @cached_property
    def _left_out(self) -> set[str]:
        if not self._prefix:
            return set()
        with torch.device("meta"):
            whole = type(self._base)(self._base.config)
        return {self._prefix + name for name in whole.state_dict()} - self.tensors.keys()

    def without(self, filled: Iterable[str]) -> list[str]:
        """The tensors that need a weight when those in `filled` have one; tied ones by one of their names."""
        seen = {id(self.tensors[name]) for name in filled}
        empty = []
        for name, tensor in self.tensors.items():
            # Whole numbers are counters and indices, which a model makes itself; so does it with what it declares.
            if id(tensor) in seen or not tensor.is_floating_point() or any(p.search(name) for p in self._computed):
                continue
            seen.add(id(tensor))
            empty.append(name)
        return empty

    def told(self, name: str) -> str:
        """A tensor for a person to read."""
        return f"{name} {tuple(self.tensors[name].shape)} of {self.tensors[name].dtype}"

    def _today(self, name: str) -> str:
        if name not in self._current:
            renamed = name
            for step in self._renamings:
                renamed, _ = step.rename_source_key(renamed)
            self._current[name] = renamed
        return self._current[name]


def _patterns(sources: Iterable[str] | None) -> list[re.Pattern[str]]:
    # From the beginning of a level: GPT-2's `attn.bias`, a buffer, must not cover `c_attn.bias`, a weight.
    return [re.compile(rf"(?:^|\.)(?:{source})") for source in sources or ()]


# Files


def _files(folder: Path) -> tuple[Path, ...]:
    present = {file.name for file in folder.glob("*") if file.is_file()}
    names: tuple[str, ...] = (_FILE,)
    if _FILE not in present and _INDEX in present:
        names = shard_names(folder / _INDEX)
        refuse_missing_shards(_INDEX, names, present, str(folder))
    elif _FILE not in present:
        raise ExportError("no-weights", f"There are no TensorFlow weights in {folder}: no {_FILE} and no {_INDEX}.")
    files = tuple(folder / name for name in names)
    refuse_lfs_pointers(files)
    return files


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError) as error:  # what h5py raises on a broken file
        raise _unreadable(file, error) from error


def _opened(file: Path) -> Any:
    with _reading(file):
        return h5py.File(file, "r", locking=False)  # a checkpoint may be on a disk that can't be locked


def _weights(file: Path, content: Any) -> list[_Weight]:
    with _reading(file):
        found = dict(_datasets(file, content))
    whole = {path: data for path, data in found.items() if path.startswith(_WHOLE_MODEL)}
    return [_Weight(file, path.removeprefix(_WHOLE_MODEL), data) for path, data in sorted((whole or found).items())]


def _datasets(file: Path, content: Any) -> Iterator[tuple[str, Any]]:
    pending, objects = [("", content)], 0
    while pending:
        prefix, group = pending.pop()
        for name in group:
            objects += 1
            path = f"{prefix}{name}"
            if objects > _MAX_OBJECTS or len(path) > _MAX_PATH:
                raise ExportError("bad-weights", f"{file} holds more groups than any checkpoint, at {_short(path)}.")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ExportError("bad-weights", f"{file}: {_short(path)} is a link to somewhere else, not a weight.")
            item = group[name]
            if isinstance(item, h5py.Group):
                pending.append((f"{path}/", item))
            else:
                _check_dataset(file, path, item)
                yield path, item


def _check_dataset(file: Path, path: str, item: Any) -> None:
    if not isinstance(item, h5py.Dataset) or item.shape is None or item.dtype.kind not in "fiu":
        what = f"holds {item.dtype}" if isinstance(item, h5py.Dataset) else "is a type"
        raise ExportError("bad-weights", f"{file}: {_short(path)} {what}, not an array of numbers.")
    if item.is_virtual or item.external:
        raise ExportError("bad-weights", f"{file}: the values of {_short(path)} are in another file.")


def _unreadable(file: Path, error: Exception) -> ExportError:
    reason = " ".join(str(error).split())
    if "truncated" in reason:
        kind, what = "truncated-weights", f"is cut short at {file.stat().st_size:,} bytes"
    elif not h5py.is_hdf5(file):
        kind, what = "bad-weights", "is not an HDF5 file, which TensorFlow weights are"
    else:
        kind, what = "bad-weights", "can't be read"
    return ExportError(kind, f"{file} {what}: {reason[:300]}", "Copy or download the file again.")


# Names


def _names(weights: Sequence[_Weight], homes: _Homes) -> dict[_Weight, _Names]:
    """What each weight may be called, in the layout under which most weights find a home."""
    layouts = [_without_main_layers([_own_names(weight, levels) for weight in weights], homes) for levels in _LEVELS]
    best = max(layouts, key=lambda layout: sum(homes.find(names) is not None for names in layout))
    return dict(zip(weights, best, strict=True))


def _own_names(weight: _Weight, levels: int) -> _Names:
    path = weight.path.split("/")[:-1]
    if levels == 0 and len(path) > 1 and path[0] == path[1]:
        levels = 1  # a layer next to the main layer is a scope of its own
    module = [level.rpartition("___")[2] for level in path[levels:]]
    leaves = dict.fromkeys([_LEAVES.get(weight.leaf, weight.leaf), weight.leaf.replace("depthwise_kernel", "weight")])
    return tuple(".".join([*module, leaf]).replace("_._", ".") for leaf in leaves)


def _without_main_layers(layout: list[_Names], homes: _Homes) -> list[_Names]:
    for prefix in homes.models:
        below = [names for names in layout if names[0].startswith(prefix)]
        if not below or any(homes.find(names) for names in below):
            continue
        # Nothing below this model is at home under its own name, so there is a level in between.
        level = Counter(names[0].removeprefix(prefix).partition(".")[0] for names in below).most_common(1)[0][0]
        main = f"{prefix}{level}."
        layout = [
            tuple(prefix + name.removeprefix(main) if name.startswith(main) else name for name in names)
            for names in layout
        ]
    return layout


# Values


def _fill(model: PreTrainedModel, homes: _Homes, placed: Sequence[_Placed]) -> list[str]:
    """Copy the values. A parameter that is tied gets its own where the checkpoint has them; returns the names of those.

    transformers unties in the same case, since configs say "tied" of models that are not.
    """
    sources = set(model.all_tied_weights_keys.values())
    filled: dict[int, _Placed] = {}
    untied = []
    for weight, home in sorted(placed, key=lambda pair: (pair[1] not in sources, pair[0].borrower)):
        tensor = homes.tensors[home]
        values = _read(weight, tensor)
        earlier, at = filled.setdefault(id(tensor), (weight, home))
        if earlier is weight:
            with torch.no_grad():
                tensor.copy_(values)
        elif not torch.allclose(tensor, values, rtol=0, atol=0, equal_nan=True):
            if _module(model, home) is _module(model, at):
                home = _home_at_borrower(model, weight, at)
            if not home:
                raise ExportError(
                    "tensorflow-weights",
                    f"{weight.file.parent}: {earlier} and {weight} are both {at} in the model, but differ.",
                )
            homes.tensors[home] = own = torch.nn.Parameter(values)
            setattr(_module(model, home), home.rpartition(".")[2], own)
            model.all_tied_weights_keys.pop(home, None)
            filled[id(own)] = (weight, home)
            untied.append(home)
    return untied


def _home_at_borrower(model: PreTrainedModel, weight: _Weight, tied_to: str) -> str:
    """The name under which the layer that borrows a weight has it; empty where it has none.

    Keras may build a borrowed table a second time, and then the file holds both.
    """
    ties = model.all_tied_weights_keys.items()
    names = (name for name, source in ties if source == tied_to and name.startswith(f"{weight.borrower}."))
    return next(names, "") if weight.borrower else ""


def _module(model: PreTrainedModel, name: str) -> torch.nn.Module:
    module: torch.nn.Module = model.get_submodule(name.rpartition(".")[0])
    return module


def _fits(weight: _Weight, tensor: Tensor) -> bool:
    # Axes of size one come and go: a bias may be kept as one row, a scalar as an array of one.
    same_sizes = [size for size in weight.shape if size != 1] == [size for size in tensor.shape if size != 1]
    return same_sizes and (weight.data.dtype.kind == "f") == tensor.is_floating_point()


def _read(weight: _Weight, like: Tensor) -> Tensor:
    with _reading(weight.file):
        values = np.asarray(weight.data[()], dtype=weight.data.dtype.newbyteorder("="))
    return torch.from_numpy(values.transpose(weight.axes).copy()).reshape(like.shape).to(like.dtype)


# Errors


def _refuse_leftovers(
    model: PreTrainedModel, homes: _Homes, placed: Sequence[_Placed], lost: dict[_Weight, _Names]
) -> None:
    """Raise unless weights and parameters fit together one to one; what doesn't is named on both sides."""
    misfits = [(weight, home) for weight, home in placed if not _fits(weight, homes.tensors[home])]
    empty = homes.without(home for _, home in placed)
    found = [
        *_some("weights without a home", list(lost), lambda weight: f"{weight}, {_nearest(lost[weight][0], homes)}"),
        *_some(
            "parameters without a weight",
            empty,
            lambda name: f"{homes.told(name)}, expected {_expected(name, placed)}",
        ),
        *_some(
            "weights of another shape or type than their home",
            misfits,
            lambda pair: f"{pair[0]} for {homes.told(pair[1])}",
        ),
    ]
    if not found:
        return
    name, named = type(model).__name__, model.config.architectures or []
    hint = "Put the config.json and the weights of the same model together."
    if named and name not in named:
        hint = f"config.json names {', '.join(named)}; choose the task of that class."
    raise ExportError("tensorflow-weights", f"The TensorFlow checkpoint does not fit {name}: {'; '.join(found)}.", hint)


def _nearest(name: str, homes: _Homes) -> str:
    near = get_close_matches(name, homes.tensors, n=1)
    return f"would be {_short(name)}" + (f" (nearest is {near[0]})" if near else "")


def _expected(name: str, placed: Sequence[_Placed]) -> str:
    module = name.rpartition(".")[0]
    for weight, home in placed:
        sibling = _SIBLINGS.get(weight.leaf)
        if sibling and home.rpartition(".")[0] == module:
            return f"{weight.path.rpartition('/')[0]}/{sibling}:0"
    return f"…/{name.replace('.', '/')}:0"


def _some(what: str, items: Sequence[_Item], tell: Callable[[_Item], str]) -> list[str]:
    """One line that counts the items and tells the first few; none where there are none."""
    more = f" and {len(items) - _MAX_TOLD} more" if len(items) > _MAX_TOLD else ""
    return [f"{what} ({len(items)}): {', '.join(map(tell, items[:_MAX_TOLD]))}{more}"] if items else []


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:100]}…{text[-100:]}"
