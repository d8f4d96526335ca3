"""The command line: ``export-action run export.yml``.

Every command is a few lines; what it needs is imported inside, so that ``--help`` answers at once.
"""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import NoReturn

import click

from entrypoint.exits import Exit
from exporter import __version__

__all__ = ["cli", "main"]

FAIL_ON = click.Choice(["tolerance", "error", "never"])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="export-action")
def cli() -> None:
    """Convert Hugging Face models to ONNX and TorchScript, and prove that the files compute what the models do."""


@cli.command()
@click.argument("manifests", nargs=-1, type=click.Path(path_type=Path), metavar="[MANIFEST]...")
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    default=Path("export"),
    show_default=True,
    help="Where artifacts and the report go.",
)
@click.option("--only", multiple=True, metavar="NAME", help="Only the model of this name; may be given again.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Models at once.")
@click.option(
    "--fail-on",
    type=FAIL_ON,
    default="tolerance",
    show_default=True,
    help="What makes the exit code 1: a model out of tolerance, only one without a result, or nothing.",
)
@click.option("--allow-custom-code", is_flag=True, help="Let the manifest's `config:` import code of this repository.")
@click.option(
    "--allow-remote-code", is_flag=True, help="Let checkpoints bring code; their `revision` must be a full commit."
)
@click.option("--quick", is_flag=True, help="Leave out the expensive cases; the report says which. Not for a release.")
def run(
    manifests: tuple[Path, ...],
    output_dir: Path,
    only: tuple[str, ...],
    jobs: int,
    fail_on: str,
    allow_custom_code: bool,
    allow_remote_code: bool,
    quick: bool,
) -> NoReturn:
    """Convert and judge every model of the manifests (default: ./export.yml)."""
    from entrypoint import conversion
    from exporter.pipeline.run import RunOptions

    options = RunOptions(
        output_directory=output_dir,
        jobs=jobs,
        allow_custom_code=allow_custom_code,
        allow_remote_code=allow_remote_code,
        quick=quick,
    )
    sys.exit(conversion.run(manifests or (Path("export.yml"),), only, options, fail_on))


REPORTS = click.argument("reports", nargs=-1, type=click.Path(path_type=Path), metavar="[FOLDER|REPORT]...")


@cli.command()
@REPORTS
@click.option("--output-dir", type=click.Path(path_type=Path), default=Path("export"), show_default=True)
@click.option("--fail-on", type=FAIL_ON, default="tolerance", show_default=True)
def report(reports: tuple[Path, ...], output_dir: Path, fail_on: str) -> NoReturn:
    """Merge the reports of several runs into one (default: those in ./export)."""
    from entrypoint import merging

    sys.exit(merging.merge_reports(reports or (Path("export"),), output_dir, fail_on))


@cli.command()
@REPORTS
@click.option("--repository", required=True, metavar="OWNER/NAME", help="Where the release is, or is to be.")
@click.option("--tag", required=True, help="Tag of the release, such as v1.2.0.")
def publish(reports: tuple[Path, ...], repository: str, tag: str) -> NoReturn:
    """Publish what passed as assets of a GitHub release; GITHUB_TOKEN or GH_TOKEN holds the token."""
    from entrypoint import merging

    sys.exit(merging.publish_reports(reports or (Path("export"),), repository, tag))


@cli.command()
@REPORTS
def verify(reports: tuple[Path, ...]) -> NoReturn:
    """Say whether the files on disk are those that were judged, by their SHA-256."""
    from entrypoint import merging

    sys.exit(merging.verify_reports(reports or (Path("export"),)))


@cli.command()
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="The checkpoint it came from: a folder or a Hub id.")
@click.option("--revision", default="", help="Revision of a Hub id.")
@click.option("--task", help="What the model was exported for; known for artifacts of ours.")
@click.option("--atol", type=click.FloatRange(0), help="Absolute tolerance instead of the measured one.")
@click.option("--case", default="", metavar="NAME", help="Only this case.")
@click.option("--quick", is_flag=True, help="Leave out the expensive cases, and say which.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the evidence as JSON.")
def validate(
    artifact: Path,
    model: str,
    revision: str,
    task: str | None,
    atol: float | None,
    case: str,
    quick: bool,
    json_file: Path | None,
) -> NoReturn:
    """Judge a file against its checkpoint, whether we exported it or someone else did."""
    from entrypoint import judgement

    question = judgement.Question(artifact, model, revision, task, {"atol": atol, "case": case, "quick": quick})
    sys.exit(judgement.judge(question, json_file))


@cli.command()
@click.argument("manifests", nargs=-1, type=click.Path(path_type=Path), metavar="[MANIFEST]...")
@click.option("--shards", type=click.IntRange(1, 256), default=256, show_default=True, help="Jobs, at most.")
def plan(manifests: tuple[Path, ...], shards: int) -> None:
    """Say what `run` would do, as the JSON of a job matrix."""
    from exporter import manifest
    from exporter.pipeline import plan as planning

    loaded = manifest.load(manifests or (Path("export.yml"),))
    click.echo(json.dumps(planning.matrix(loaded.entries, shards), indent=2))


@cli.command()
@click.argument("model_type", required=False)
def features(model_type: str | None) -> None:
    """List what can be exported: all model types, or the features of one."""
    from exporter import architectures

    if model_type is not None:
        click.echo("\n".join(architectures.features(model_type)))
        return
    for name in architectures.model_types():
        click.echo(f"{name}: {', '.join(architectures.features(name))}")


@cli.command()
@click.option("--report", is_flag=True, help="The schema of export-report.json instead.")
def schema(report: bool) -> None:
    """Print the JSON Schema of the manifest."""
    if report:
        from exporter.results import json_schema
    else:
        from exporter.manifest import json_schema
    click.echo(json.dumps(json_schema(), indent=2))


def main() -> NoReturn:
    """Run the command line; every way out has the exit code that the README promises."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as ending:
        sys.exit(ending.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.BAD_CALL)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(Exit.INTERRUPTED)
    except Exception as error:
        sys.exit(_explain(error))
    sys.exit(Exit.OK)


def _explain(error: Exception) -> Exit:
    """Say what went wrong: in one message when it is the call's fault, with a traceback only when it is ours."""
    from exporter.manifest import ManifestErrors
    from exporter.results import ExportError

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        click.echo(f"error: no space left on the disk while writing {error.filename or 'a file'}.", err=True)
        return Exit.BAD_CALL
    if isinstance(error, ManifestErrors):
        click.echo(str(error), err=True)
        return Exit.BAD_CALL
    if isinstance(error, ExportError):
        problem = error.problem
        click.echo(f"error: {problem.message}" + (f"\n       {problem.hint}" if problem.hint else ""), err=True)
        return Exit.BAD_CALL
    import traceback

    traceback.print_exception(error)
    click.echo(f"This is a bug in export-action {__version__}. Please report it with the lines above.", err=True)
    return Exit.BUG
