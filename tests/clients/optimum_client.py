"""Loads an exported folder with optimum and runs it: a JSON question comes in, a JSON answer goes out.

Question: ``folder``; ``loader``, the name of a class in ``optimum.onnxruntime``; ``inputs``, nested lists by name; and
``generate``, the arguments of ``generate``, or null for one plain call.
Answer: every output as nested lists by name; what ``generate`` wrote is called ``tokens``.
"""

from __future__ import annotations

import json
import sys

import torch
from optimum import onnxruntime


def main() -> None:
    """Answer one question."""
    question = json.load(sys.stdin)
    model = getattr(onnxruntime, question["loader"]).from_pretrained(question["folder"])
    inputs = {name: torch.tensor(rows) for name, rows in question["inputs"].items()}
    with torch.no_grad():
        if question["generate"] is None:
            outputs = dict(model(**inputs))
        else:
            outputs = {"tokens": model.generate(**inputs, **question["generate"])}
    json.dump({name: value.tolist() for name, value in outputs.items()}, sys.stdout)


if __name__ == "__main__":
    main()
