"""The command `run`: export, judge, and tell."""

from __future__ import annotations

from entrypoint import conversion, isolation, ownership
from entrypoint.commands.selecting import select
from entrypoint.exits import Exit
from entrypoint.hub_models import HubModels, require_space
from entrypoint.lending import lent
from entrypoint.reports import Placed
from entrypoint.settings import Settings
from entrypoint.telling import Telling
from entrypoint.tools import Tools
from exporter.pipeline.run import RunOptions
from exporter.results import ModelResult, Problem, Status

__all__ = ["run"]

# How the Hub says no to someone without a token.
_NEEDS_TOKEN = ("hub-unauthorized", "hub-gated", "hub-not-found", "hub-forbidden")


def run(settings: Settings, tools: Tools) -> Exit:
    """Export the models of the manifests, and tell how that went."""
    selection = select(settings, tools)
    warning = isolation.left_credentials(settings.run.workspace)
    if warning:
        tools.say(warning, "warning")
    output = settings.output_directory
    ownership.own_folder(output, settings.run.workspace)
    models = HubModels(selection.entries, settings.hf_token)
    require_space(selection.entries, models, output, at_once=None if settings.keep_cache else settings.jobs)
    options = RunOptions(
        output_directory=output,
        jobs=settings.jobs,
        allow_custom_code=settings.allow_custom_code,
        allow_remote_code=settings.allow_remote_code,
        quick=settings.quick,
        sandbox=tools.sandbox,
        commit=settings.run.commit,
        fetch=models.fetch,
    )
    watch = conversion.Watch(
        revise=_revision(settings),
        finished=None if settings.keep_cache else models.drop,
        logs=output if settings.run.debug else None,
    )
    with lent(selection.entries, output, settings.run.workspace, tools.sandbox):
        done = conversion.convert(selection.entries, tools.options(options), watch)
    placed = tuple(Placed(output, model) for model in done.report.models)
    telling = Telling(settings, tools, done.report, placed, selection.unchanged)
    if done.interrupted is not None:
        telling.in_brief()
        return done.interrupted
    return telling.in_full()


def _revision(settings: Settings) -> conversion.Revise:
    """A model that only a secret opens is no failure of a pull request that gets no secrets."""
    from entrypoint.github.pulls import origin_of

    if settings.hf_token or origin_of(settings.run.event, settings.run.payload) == "repository":
        return lambda model: model
    return _withheld


def _withheld(model: ModelResult) -> ModelResult:
    if model.problem is None or model.problem.kind not in _NEEDS_TOKEN:
        return model
    problem = Problem(
        kind="needs-secret",
        message=f"needs a secret this event does not have: {model.problem.message}",
        hint="GitHub gives no secrets to pull requests from forks and of Dependabot; a run after the merge has them.",
    )
    return model.model_copy(update={"status": Status.UNVERIFIED, "problem": problem})
