"""What the scripts that run in a peer's own environment share: jobs in, verdicts out, and whether the peer's eager
model is ours. Imports nothing of this repository but its neighbours.

A job is ``{"id", "checkpoint", "task", "graph", "file"}``. A verdict is ``passed``, ``caught`` (the validator said so),
``crashed`` (it, or the runtime below it, ended in another error; that stops a release too) or ``not applicable``.
"""

from __future__ import annotations

import importlib.metadata
import json
import random
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import torch

PACKAGES = ("numpy", "onnx", "onnxruntime", "optimum", "optimum-onnx", "torch", "transformers")
LONGEST_REASON = 160


class NotApplicable(Exception):  # noqa: N818 - it is no error
    """The peer has no layout that this file is in."""


def serve(judge, load_model):
    """Read jobs from the first argument, write answers to the second.

    Args:
        judge: Called with a job and the model's folder; returns when the file passed, raises when not. An exception
            with the attribute ``caught`` was the validator's own word.
        load_model: Gives the peer's eager model of a folder and task.
    """
    onnxruntime.set_default_logger_severity(4)  # what goes wrong is in the exceptions
    jobs = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    verdicts, apart = {}, {}
    for job in jobs:
        if job["checkpoint"] not in apart:
            apart[job["checkpoint"]] = distance_of_eager(load_model(job), Path(job["checkpoint"]))
        verdicts[job["id"]] = answer(judge, job)
    answers = {"versions": versions(), "eager": apart, "verdicts": verdicts}
    Path(sys.argv[2]).write_text(json.dumps(answers), encoding="utf-8")


def answer(judge, job):
    """The verdict on one file, with its reason."""
    # Peers draw their inputs at random.
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    try:
        judge(job)
    except NotApplicable as reason:
        return {"verdict": "not applicable", "reason": str(reason)}
    except Exception as error:
        kind = "caught" if getattr(error, "caught", False) else "crashed"
        return {"verdict": kind, "reason": told(error, job), "exit": getattr(error, "exit_code", 1)}
    return {"verdict": "passed", "reason": "", "exit": 0}


def told(error, job):
    """The first lines of an error, without this machine's paths."""
    text = " ".join(str(error).split()).replace(str(Path(job["file"]).parent) + "/", "")
    return f"{type(error).__name__}: {text}"[:LONGEST_REASON]


def versions():
    """Versions of what is installed here."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def distance_of_eager(model, checkpoint):
    """How far the model that this version of transformers makes of a checkpoint is from ours: the largest difference
    of a whole forward pass at positions that count, relative to the largest value."""
    with np.load(checkpoint / "eager.npz") as stored:
        arrays = {name: stored[name] for name in stored}
    inputs = {name[3:]: torch.from_numpy(array) for name, array in arrays.items() if name.startswith("in.")}
    with torch.no_grad():
        outputs = model(**inputs)
    worst = 0.0
    for name, wanted in arrays.items():
        if name.startswith("out."):
            given = outputs[name[4:]].numpy()
            counts = counting(wanted, arrays)
            worst = max(worst, float(np.abs(given - wanted)[counts].max() / np.abs(wanted).max()))
    return worst


def counting(wanted, arrays):
    """Where an output means something: not at padded positions, where it has the text's positions at all."""
    mask = arrays.get("in.attention_mask")
    if mask is None or "in.decoder_input_ids" in arrays or wanted.shape[:2] != mask.shape:
        return np.ones(wanted.shape[:1], bool)
    return mask.astype(bool)
