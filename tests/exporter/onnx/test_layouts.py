"""Which files an export of an encoder-decoder with past consists of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from exporter.onnx import merge
from exporter.pipeline import steps
from exporter.pipeline.messages import CheckpointRequest, ExportReply, ExportRequest, ValidateRequest
from exporter.results import Status

MakeCheckpoint = Callable[[str, str], Path]

MERGED = ["decoder_model_merged.onnx", "encoder_model.onnx"]
SEPARATE = ["decoder_model.onnx", "decoder_with_past_model.onnx", "encoder_model.onnx"]


def exported(checkpoint: Path, directory: Path, **options: Any) -> ExportReply:
    asked = CheckpointRequest(path=str(checkpoint), task="seq2seq-lm-with-past")
    request = ExportRequest(checkpoint=asked, format="onnx", options=options, directory=str(directory))
    reply = steps.export(request)
    judged = steps.validate(ValidateRequest(checkpoint=asked, format="onnx", directory=str(directory)))
    assert judged.status is Status.PASSED, judged.log
    return reply


def written(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.glob("*.onnx*"))


@pytest.mark.parametrize(
    ("options", "files"), [({}, MERGED), ({"separate_decoders": True}, sorted({*MERGED, *SEPARATE}))]
)
def test_both_decoders_are_kept_where_that_was_asked_for(
    options: dict[str, Any], files: list[str], make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    reply = exported(make_checkpoint("t5", "seq2seq-lm"), tmp_path, **options)
    assert written(tmp_path) == files
    assert not any("merged" in note for note in reply.notes)


def test_decoders_that_cannot_be_merged_stay_two(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A merged file that no runtime loads: its choice hangs on an input that doesn't exist.
    sound = merge.merge_decoders

    def broken(first: Path, following: Path, path: Path, *rest: Any) -> None:
        sound(first, following, path, *rest)
        model = onnx.load(str(path))
        model.graph.node[-1].input[0] = "nothing"
        onnx.save(model, str(path))

    monkeypatch.setattr("exporter.onnx.merge_decoders", broken)
    reply = exported(make_checkpoint("t5", "seq2seq-lm"), tmp_path)
    assert written(tmp_path) == SEPARATE
    assert any("could not be merged" in note for note in reply.notes)
