"""The command `report`: merge what other jobs found, and tell it as one."""

from __future__ import annotations

from entrypoint import ownership
from entrypoint.exits import Exit
from entrypoint.reports import find_reports, merge
from entrypoint.settings import Settings
from entrypoint.telling import Telling
from entrypoint.tools import Tools

__all__ = ["report"]


def report(settings: Settings, tools: Tools) -> Exit:
    """Merge every report in `reports`, and tell how that went."""
    found, problems = find_reports(settings.reports or (settings.output_directory,))
    if problems:
        # As one: the runner keeps ten warnings of a step.
        tools.say("\n".join(problems), "warning")
    merged = merge(found, problems)
    ownership.own_folder(settings.output_directory, settings.run.workspace)
    return Telling(settings, tools, merged.report, merged.models).in_full()
