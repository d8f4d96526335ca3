"""What a run costs, and how to spread it over several machines: shards of about equal cost, as a job matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.manifest import Entry, WrittenEntry

__all__ = ["MAX_SHARDS", "Shard", "changed", "cost", "matrix", "shards", "weights_bytes"]

MAX_SHARDS = 256
"""Jobs that a matrix may have: https://docs.github.com/en/actions/reference/limits."""

# What every format of a model costs beside its weights: start-up, tracing, the many small runs of the judge.
_OVERHEAD_BYTES = 100_000_000
# A base-size encoder in float32: what an id on the Hub most likely is.
_UNKNOWN_BYTES = 440_000_000

# In the order in which a checkpoint is loaded from them; more than one kind may be there.
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "*.h5")


@dataclass(frozen=True)
class Shard:
    """Entries for one machine.

    Attributes:
        names: In the manifest's order.
        cost: In bytes, as from `cost`.
    """

    names: tuple[str, ...]
    cost: int


def weights_bytes(folder: Path) -> int:
    """Size of the weights in a checkpoint's folder; 0 when it holds none that we would load."""
    for pattern in _WEIGHTS:
        sizes = [path.stat().st_size for path in folder.glob(pattern) if path.is_file()]
        if sizes:
            return sum(sizes)
    return 0


def cost(entry: Entry, hub_bytes: Callable[[Entry], int | None] = lambda _: None) -> int:
    """What an entry costs, in bytes of weights that are converted; only the proportion between entries means anything.

    Args:
        entry: The entry.
        hub_bytes: Size of the weights of a model on the Hub, or None where it isn't known.
    """
    weights = weights_bytes(entry.checkpoint) if entry.checkpoint else hub_bytes(entry)
    return ((_UNKNOWN_BYTES if weights is None else weights) + _OVERHEAD_BYTES) * len(entry.formats.names)


def shards(costs: Mapping[str, int], count: int) -> tuple[Shard, ...]:
    """Spread entries over at most `count` shards so that the largest is small: dearest first, each to the cheapest.

    Args:
        costs: By name, in the manifest's order.
        count: From 1 to `MAX_SHARDS`; with fewer entries there are fewer shards.
    """
    if not 1 <= count <= MAX_SHARDS:
        raise ValueError(f"expected 1 to {MAX_SHARDS} shards, got {count}")
    groups: list[list[str]] = [[] for _ in range(min(count, len(costs)))]
    totals = [0] * len(groups)
    for name in sorted(costs, key=lambda each: costs[each], reverse=True):
        cheapest = min(range(len(groups)), key=lambda index: (totals[index], len(groups[index])))
        groups[cheapest].append(name)
        totals[cheapest] += costs[name]
    order = {name: position for position, name in enumerate(costs)}
    made = [
        Shard(tuple(sorted(group, key=order.__getitem__)), total) for group, total in zip(groups, totals, strict=True)
    ]
    return tuple(sorted(made, key=lambda shard: order[shard.names[0]]))


def matrix(
    entries: Sequence[Entry],
    count: int = MAX_SHARDS,
    hub_bytes: Callable[[Entry], int | None] = lambda _: None,
) -> dict[str, Any]:
    """A value for ``strategy.matrix``: one job a shard.

    Each job has ``shard`` (from 1, for names of uploads), ``title`` (for people), ``only`` (names, one a line: what
    the input `only` takes) and ``cost``. Without entries the list is empty, which GitHub refuses: skip the job then.
    """
    costs = {entry.name: cost(entry, hub_bytes) for entry in entries}
    return {
        "include": [
            {"shard": number, "title": _title(shard), "only": "\n".join(shard.names), "cost": shard.cost}
            for number, shard in enumerate(shards(costs, count), start=1)
        ]
    }


def changed(entries: Iterable[Entry], base: Mapping[str, WrittenEntry], touched: Iterable[Path]) -> tuple[Entry, ...]:
    """The entries that mean something else than they did before.

    Args:
        entries: As they are now.
        base: Entries by name as they were.
        touched: Absolute paths of files that differ.

    Returns:
        Entries that are new, say something else, or are made from a file that differs; of the folder of custom code
        every Python file counts, since one may import another.
    """
    differing = [Path(path) for path in touched]
    return tuple(
        entry
        for entry in entries
        if entry.name not in base
        or entry.canonical() != base[entry.name].canonical()
        or any(_is_part(path, entry) for path in differing)
    )


def _is_part(path: Path, entry: Entry) -> bool:
    if any(path.is_relative_to(own) for own in entry.paths):
        return True
    custom = entry.custom_config
    return custom is not None and path.suffix == ".py" and path.is_relative_to(custom.path.parent)


def _title(shard: Shard) -> str:
    more = len(shard.names) - 1
    return f"{shard.names[0]} and {more} more" if more else shard.names[0]
