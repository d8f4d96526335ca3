"""The command-line twin of ``python -m transformers.onnx``: one model, one feature, one folder.

It does what a manifest's entry does, in this process: no worker, no report.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from exporter.pipeline.messages import CheckpointRequest

__all__ = ["main"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-m", "--model", required=True, help="Checkpoint: a folder or a Hub id.")
@click.option("--feature", default="default", show_default=True, help="What to export it for: a task's name.")
@click.option("--opset", type=click.IntRange(1), help="ONNX opset (default: the architecture's).")
@click.option("--atol", type=click.FloatRange(0), help="Absolute tolerance (default: measured on the model).")
@click.argument("output", type=click.Path(path_type=Path, file_okay=False))
def convert(model: str, feature: str, opset: int | None, atol: float | None, output: Path) -> NoReturn:
    """Export MODEL to OUTPUT/model.onnx, and hold the file against the model."""
    from exporter.pipeline.fetch import checkpoint_folder
    from exporter.pipeline.messages import CheckpointRequest, ValidateRequest
    from exporter.pipeline.steps import default_opset, validate
    from exporter.results import Status

    folder, commit = checkpoint_folder(model, "")
    checkpoint = CheckpointRequest(path=str(folder), task=feature, revision=commit)
    output.mkdir(parents=True, exist_ok=True)
    _export(checkpoint, opset or default_opset(checkpoint), output)
    judging = {} if atol is None else {"atol": atol, "reason": "given on the command line"}
    verdict = validate(ValidateRequest(checkpoint=checkpoint, format="onnx", directory=str(output), options=judging))
    click.echo("\n".join(verdict.log))
    sys.exit(verdict.status is not Status.PASSED)


def _export(checkpoint: CheckpointRequest, opset: int, output: Path) -> None:
    """Write the files with the first engine that can."""
    from exporter.pipeline.messages import ExportRequest, InspectRequest
    from exporter.pipeline.steps import export, inspect
    from exporter.results import ExportError

    options = {"opset": opset}
    failures = []
    for engine in inspect(InspectRequest(checkpoint=checkpoint, onnx_options=options)).engines:
        request = ExportRequest(
            checkpoint=checkpoint, format="onnx", engine=engine, options=options, directory=str(output)
        )
        try:
            export(request)
        except ExportError as error:
            if error.problem.kind != "export-failed":
                raise
            failures.append(error)
        else:
            return
    raise failures[0]


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
