"""Which engine to try first: measured, not believed (`tests/architectures` measures it again)."""

from __future__ import annotations

__all__ = ["DYNAMO_FIRST", "LARGE_MODEL_PARAMETERS", "preference"]

LARGE_MODEL_PARAMETERS = 1_000_000_000
"""From here on the legacy engine's three copies of the weights are more than a hosted runner has."""

DYNAMO_FIRST: frozenset[str] = frozenset()
"""Model types that the legacy engine can't convert, or converts wrongly."""


def preference(model_type: str, parameters: int) -> tuple[str, ...]:
    """The engines' names, best first.

    Legacy first: a file as right as dynamo's in a tenth of the time, except for the types and sizes above.
    """
    if model_type in DYNAMO_FIRST or parameters > LARGE_MODEL_PARAMETERS:
        return ("dynamo", "legacy")
    return ("legacy", "dynamo")
