"""The action: settings and tools in, an exit code out."""

from __future__ import annotations

import errno
import traceback

from entrypoint import workflow
from entrypoint.commands import plan, publish, report, run
from entrypoint.exits import Exit
from entrypoint.settings import Settings
from entrypoint.telling import refuse
from entrypoint.tools import Tools
from exporter import __version__
from exporter.manifest import ManifestErrors
from exporter.results import ExportError

__all__ = ["action"]

_COMMANDS = {"run": run.run, "plan": plan.plan, "report": report.report, "publish": publish.publish}
_MOST_ANNOTATIONS = 10  # what the runner keeps of a step


def action(settings: Settings, tools: Tools) -> Exit:
    """Do what the inputs ask for; whatever the exit code, the log says why."""
    try:
        return _COMMANDS[settings.command](settings, tools)
    except ManifestErrors as errors:
        _annotate(errors, tools)
        refuse(settings, [str(error) for error in errors.errors])
        return Exit.BAD_CALL
    except ExportError as error:
        tools.say(f"{error.problem.message}\n{error.problem.hint}".rstrip(), "error")
        refuse(settings, [f"{error.problem.message} {error.problem.hint}"])
        return Exit.GITHUB_REFUSED if _is_of_github(error) else Exit.BAD_CALL
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return _bug(error, tools)
        where = error.filename or settings.output_directory
        tools.say(f"No space left on the disk while writing {where}.\nFree space, or use a larger runner.", "error")
        return Exit.BAD_CALL
    except Exception as error:
        return _bug(error, tools)


def _is_of_github(error: ExportError) -> bool:
    from entrypoint.github.errors import ApiError, CannotPublish

    return isinstance(error, (ApiError, CannotPublish))


def _bug(error: Exception, tools: Tools) -> Exit:
    with workflow.fenced(tools.log) as text:
        text.write("".join(traceback.format_exception(error)))
    tools.say(f"This is a bug in export-action {__version__}. Please report it with the lines above.", "error")
    return Exit.BUG


def _annotate(errors: ManifestErrors, tools: Tools) -> None:
    for error in errors.errors[:_MOST_ANNOTATIONS]:
        place = error.source
        message = f"{error.key}: {error.message}" if error.key else error.message
        remark = workflow.Annotation("error", "Manifest", message, place.path, place.line, place.column)
        print(workflow.annotate(remark), file=tools.log)
    for error in errors.errors[_MOST_ANNOTATIONS:]:
        tools.say(str(error))
    tools.log.flush()
