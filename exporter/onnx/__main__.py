"""The command-line twin of ``python -m transformers.onnx``: one model, one feature, one folder.

It does what a manifest's entry does, in this process: no worker, no report.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

__all__ = ["main"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-m", "--model", required=True, help="Checkpoint: a folder or a Hub id.")
@click.option("--feature", help="What to export it for (default: what the checkpoint was made for).")
@click.option("--opset", type=click.IntRange(1), help="ONNX opset (default: the architecture's).")
@click.option("--atol", type=click.FloatRange(0), help="Absolute tolerance (default: measured on the model).")
@click.argument("output", type=click.Path(path_type=Path, file_okay=False))
def convert(model: str, feature: str | None, opset: int | None, atol: float | None, output: Path) -> NoReturn:
    """Export MODEL to OUTPUT/model.onnx, and hold the file against the model."""
    from exporter.pipeline.fetch import checkpoint_folder
    from exporter.pipeline.messages import CheckpointRequest, ExportRequest, ValidateRequest
    from exporter.pipeline.steps import default_opset, export, validate
    from exporter.results import Status

    folder, commit = checkpoint_folder(model, "")
    checkpoint = CheckpointRequest(path=str(folder), task=feature, revision=commit)
    output.mkdir(parents=True, exist_ok=True)
    options = {"opset": opset or default_opset(checkpoint)}
    export(ExportRequest(checkpoint=checkpoint, format="onnx", options=options, directory=str(output)))
    judging = {} if atol is None else {"atol": atol, "reason": "given on the command line"}
    verdict = validate(ValidateRequest(checkpoint=checkpoint, format="onnx", directory=str(output), options=judging))
    click.echo("\n".join(verdict.log))
    sys.exit(verdict.status is not Status.PASSED)


def main() -> NoReturn:
    """Run the command; a mistake of the caller's is one message and exit code 2, a file that differs is 1."""
    from exporter.results import ExportError

    try:
        convert.main(prog_name="python -m exporter.onnx", standalone_mode=True)
    except ExportError as error:
        problem = error.problem
        click.echo(f"error: {problem.message} {problem.hint}".rstrip(), err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
