"""The command `publish`: what other jobs exported becomes the assets of a release."""

from __future__ import annotations

from dataclasses import replace

from entrypoint.commands.report import report
from entrypoint.exits import Exit
from entrypoint.settings import InputError, Settings
from entrypoint.tools import Tools

__all__ = ["publish"]


def publish(settings: Settings, tools: Tools) -> Exit:
    """Publish what passed in the reports of `reports`, and tell how that went, but for a comment.

    Raises:
        InputError: Neither the inputs nor the event name a tag.
    """
    if not (settings.tag or settings.run.tag):
        raise InputError("The input `tag`: this run is for no tag or release; write the tag, like `v1.2.0`.")
    return report(replace(settings, publish="true", comment="false"), tools)
