"""The command `plan`: spread the models over the jobs of a matrix."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from entrypoint import changes, conversion, ownership, telling
from entrypoint.commands.selecting import select
from entrypoint.exits import Exit
from entrypoint.hub_models import HubModels
from entrypoint.settings import Settings
from entrypoint.tools import Tools
from exporter.pipeline import plan as planning
from exporter.pipeline.drive import unfinished
from exporter.pipeline.versions import versions
from exporter.pipeline.workspace import REPORT_FILE
from exporter.results import Report, combine

__all__ = ["plan"]


def plan(settings: Settings, tools: Tools) -> Exit:
    """Write a matrix to the output `matrix`, and a report of what is planned and what is unchanged.

    A model that no job gets to stays `cancelled` when `report` merges this report with those of the jobs.
    """
    selection = select(settings, tools)
    models = HubModels(selection.entries, settings.hf_token)
    matrix = planning.matrix(selection.entries, settings.shards, models.all_bytes)
    place = telling.look_up(settings, tools) if selection.unchanged else telling.Place()
    unchanged = changes.last_verdicts(selection.unchanged, place.compared, place.label)
    planned = tuple(map(unfinished, selection.entries))
    report = Report(
        status=combine(model.status for model in planned),
        models=planned,
        unchanged=unchanged,
        versions=versions(),
        commit=settings.run.commit,
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    output = settings.output_directory
    ownership.own_folder(output, settings.run.workspace)
    conversion.save(report, output)
    jobs = matrix["include"]
    for job in jobs:
        tools.say(f"Job {job['shard']}: {job['title']}")
    tools.say(f"Jobs: {len(jobs)}; models: {len(planned)}; unchanged: {len(selection.unchanged)}.")
    values = {"matrix": json.dumps(matrix, separators=(",", ":")), "report": str(output / REPORT_FILE)}
    telling.write_outputs(settings, tools, values)
    return Exit.OK
