"""What the action works with besides its settings. Handed in, so that all of it runs in a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TextIO

from entrypoint import workflow
from entrypoint.git import Git
from entrypoint.render.escape import log_line, visible
from entrypoint.workflow import Annotation
from exporter.pipeline.run import RunOptions
from exporter.pipeline.worker import Sandbox

if TYPE_CHECKING:
    from entrypoint.github.client import Client
    from entrypoint.settings import Settings

__all__ = ["Tools", "github"]


def _as_they_are(options: RunOptions) -> RunOptions:
    return options


def github(settings: Settings) -> Client:
    """A connection to the repository of the workflow, with the token of the inputs.

    Raises:
        ExportError: No token, or an address that can't be one.
    """
    from entrypoint.github.client import connect

    return connect(settings.token, settings.run.repository, settings.run.api_url)


@dataclass(frozen=True)
class Tools:
    """Everything that reaches outside of the process.

    Attributes:
        log: Where the action prints; the runner reads commands there.
        git: The checkout.
        connect: Gives a connection to GitHub.
        sandbox: Who workers are; None: who we are.
        options: Changes how models are run; tests put cheap workers in.
    """

    log: TextIO
    git: Git
    connect: Callable[[Settings], Client] = github
    sandbox: Sandbox | None = None
    options: Callable[[RunOptions], RunOptions] = _as_they_are

    def say(self, message: str, level: Literal["error", "warning", "notice"] | None = None) -> None:
        """Print a remark of ours; with a level it is an annotation, which people see without opening the log."""
        if level is None:
            print(log_line(message), file=self.log, flush=True)
            return
        text = "\n".join(map(visible, message.splitlines()))
        print(workflow.annotate(Annotation(level, "Model export", text)), file=self.log, flush=True)
