"""What went wrong with the Hub, told apart: each cause has a kind, and a way out.

The Hub says why in the headers ``X-Error-Code`` and ``X-Error-Message``, which huggingface_hub turns into exceptions.
Without a token it answers 401 both for what is private and for what doesn't exist.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator

from huggingface_hub.errors import (
    DisabledRepoError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from exporter.results import ExportError

__all__ = ["explain", "is_passing", "seconds_asked"]

_TRY_AGAIN = "Run it again; status.huggingface.co tells of outages."
_GIVE_TOKEN = "Give a token of someone who may read it in HF_TOKEN."  # noqa: S105
_NETWORK = "Check the network, the proxy's variables (HTTPS_PROXY, NO_PROXY) and HF_ENDPOINT."

_RATELIMIT = re.compile(r"\bt\s*=\s*(\d+)")  # `"api";r=0;t=55`: the window ends in 55 seconds
_SECRET = re.compile(r"\bhf_[A-Za-z0-9]{6,}")


def explain(error: Exception, model_id: str, revision: str | None, token: str | None) -> ExportError:
    """The `ExportError` that says what `error` means for someone who asked for a model.

    Args:
        error: What was raised while talking to the Hub.
        model_id: The repository that was asked for.
        revision: What was asked for of it.
        token: The token that was given, so that no message repeats it.
    """
    if isinstance(error, ExportError):
        return error
    kind, message, hint = _told_apart(_root(error), model_id, revision)
    secrets = [secret for secret in (token, os.environ.get("HF_TOKEN")) if secret]
    return ExportError(kind, _without_secrets(message, secrets), hint)


def is_passing(error: Exception) -> bool:
    """Whether the same question may be answered a moment later."""
    root = _root(error)
    if error is not root:
        return False  # the library has asked several times already
    if isinstance(root, HfHubHTTPError):
        return root.response.status_code in (408, 429) or root.response.status_code >= 500
    return _is_a(root, "TimeoutException", "NetworkError", "RemoteProtocolError")


def seconds_asked(error: Exception) -> float | None:
    """For how long the server asks to wait, None when it doesn't say."""
    if not isinstance(error, HfHubHTTPError):
        return None
    headers = error.response.headers
    if headers.get("Retry-After", "").isdigit():
        return float(headers["Retry-After"])
    window = _RATELIMIT.search(headers.get("RateLimit", "")) if error.response.status_code == 429 else None
    return float(window.group(1)) if window else None


def _root(error: BaseException) -> BaseException:
    """The exception that says most: the library wraps what it met in one that speaks of its cache."""
    for each in _causes(error):
        if isinstance(each, (OfflineModeIsEnabled, FileMetadataError, HFValidationError)) or _is_a(each, "HTTPError"):
            return each
    return error


def _is_a(error: BaseException, *names: str) -> bool:
    """Whether the transport's exception has one of these classes; huggingface_hub 1 uses httpx, 2 uses httpx2."""
    return any(each.__name__ in names and each.__module__.startswith("httpx") for each in type(error).__mro__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _told_apart(error: BaseException, model_id: str, revision: str | None) -> tuple[str, str, str]:
    at = f" at {revision!r}" if revision else ""
    if isinstance(error, HFValidationError):
        return (
            "bad-model-id",
            f"{model_id!r} is no id of a model on the Hub: {_line(error)}",
            "Write `org/name`, or the path of a folder that exists.",
        )
    if isinstance(error, OfflineModeIsEnabled):
        return "hub-offline", f"{model_id} can't be fetched: HF_HUB_OFFLINE is set.", "Unset HF_HUB_OFFLINE."
    if isinstance(error, RevisionNotFoundError):
        return (
            "hub-no-revision",
            f"{model_id} has no revision {revision!r} on the Hub: never had, or it was deleted or overwritten.",
            "Write a branch, a tag or a commit that its page on the Hub shows.",
        )
    if isinstance(error, HfHubHTTPError):
        return _refusal(error, model_id)
    if isinstance(error, (FileMetadataError, json.JSONDecodeError, UnicodeDecodeError)):
        return "hub-bad-answer", f"What answered for {model_id}{at} is not a Hub: {_line(error)}", _NETWORK
    return _no_answer(error, model_id)


def _refusal(error: HfHubHTTPError, model_id: str) -> tuple[str, str, str]:
    status = error.response.status_code
    has_token = "authorization" in error.response.request.headers
    said = f" The Hub says: {_line(error.server_message)}" if error.server_message else ""
    page = f"{error.response.request.url.copy_with(path='/', query=None)}{model_id}"
    if isinstance(error, GatedRepoError):
        if has_token:
            message = f"{model_id} is gated, and the owner of the token in HF_TOKEN has no access yet."
            return "hub-gated", message, f"Ask for access, or accept the conditions, at {page}."
        message = f"{model_id} is gated, and no token was given."
        return "hub-gated", message, f"Accept the conditions at {page}, and give your token in HF_TOKEN."
    if isinstance(error, DisabledRepoError):
        return "hub-disabled", f"{model_id} was disabled on the Hub.{said}", "Use another model, or a copy of your own."
    if isinstance(error, RemoteEntryNotFoundError):
        return (
            "hub-no-file",
            f"A file of {model_id} is listed, but not there: {error.response.request.url.path}",
            _TRY_AGAIN,
        )
    if status == 401 and has_token and not isinstance(error, RepositoryNotFoundError):
        return (
            "hub-bad-token",
            f"The Hub refuses the token in HF_TOKEN: it is wrong or has expired.{said}",
            ("Make a new one in the Hub's settings, or unset HF_TOKEN for public models."),
        )
    if status == 401:
        message = f"The Hub doesn't show {model_id} to "
        message += "the owner of this token" if has_token else "someone without a token"
        return "hub-unauthorized", f"{message}: it doesn't exist or is private.", f"Check the id. {_GIVE_TOKEN}"
    if status == 404:
        return (
            "hub-not-found",
            f"There is no model {model_id} on the Hub, or it is private.",
            (f"Check the id; it may be renamed or deleted. {_GIVE_TOKEN}"),
        )
    if status == 403:
        return (
            "hub-forbidden",
            f"The Hub forbids access to {model_id}.{said}",
            ("Give the token the permission to read this repository (fine-grained tokens need it for each)."),
        )
    if status == 429:
        asked = seconds_asked(error)
        wait = f"; it asks to wait {asked:.0f} seconds" if asked else ""
        return (
            "hub-rate-limit",
            f"The Hub answers too many requests (429) for {model_id}{wait}.",
            ("Run it later. A token in HF_TOKEN raises the limit, and a cached HF_HOME needs fewer requests."),
        )
    if status >= 500:
        return "hub-server-error", f"The Hub has a problem of its own ({status}) with {model_id}.{said}", _TRY_AGAIN
    return "hub-error", f"The Hub answers {status} for {model_id}.{said}", _TRY_AGAIN


def _no_answer(error: BaseException, model_id: str) -> tuple[str, str, str]:
    if _is_a(error, "TimeoutException"):
        return "hub-timeout", f"The Hub didn't answer in time for {model_id} ({type(error).__name__}).", _NETWORK
    if _is_a(error, "ProxyError"):
        return "hub-proxy", f"The proxy refuses to connect to the Hub for {model_id}: {_line(error)}", _NETWORK
    if _is_a(error, "TransportError"):
        return "hub-unreachable", f"The Hub can't be reached for {model_id}: {_line(error)}", _NETWORK
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            "disk-full",
            f"The disk filled up while {model_id} was fetched.",
            ("Free some space, or set HF_HOME to a folder on a larger disk."),
        )
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return "hub-truncated", f"A file of {model_id} came shorter than announced: {_line(error)}", _TRY_AGAIN
    return "hub-error", f"{model_id} can't be fetched: {type(error).__name__}: {_line(error)}", _TRY_AGAIN


def _line(text: object) -> str:
    return " ".join(str(text).split())[:300]


def _without_secrets(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return _SECRET.sub("hf_***", text)
