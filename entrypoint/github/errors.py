"""What can go wrong between us and GitHub, each with a sentence a person can act on."""

from __future__ import annotations

from exporter.results import ExportError

__all__ = [
    "ApiError",
    "CannotComment",
    "CannotPublish",
    "InvalidError",
    "MissingError",
    "RefusedError",
    "ThrottledError",
    "TooLargeError",
    "UnavailableError",
]


class ApiError(ExportError):
    """A request that GitHub did not fulfil; repeating was tried where that could help.

    Attributes:
        status: HTTP status; 0 when no answer came.
        reason: What GitHub said, in its own words.
    """

    kind = "github-error"

    def __init__(self, message: str, hint: str = "", *, status: int = 0, reason: str = "") -> None:
        super().__init__(self.kind, message, hint)
        self.status = status
        self.reason = reason


class RefusedError(ApiError):
    """401 or 403: the token may not do this."""

    kind = "github-permission"


class MissingError(ApiError):
    """404 or 410: not there, or hidden from this token."""

    kind = "github-not-found"


class InvalidError(ApiError):
    """Any other 4xx: GitHub understood and said no, such as 422 `already_exists`."""

    kind = "github-rejected"


class ThrottledError(ApiError):
    """A rate limit, and waiting for its end would take longer than we are ready to wait."""

    kind = "github-rate-limit"


class UnavailableError(ApiError):
    """5xx, a broken connection or no answer in time. A write may or may not have happened."""

    kind = "github-unavailable"


class TooLargeError(ApiError):
    """A download that is larger than what we are ready to read."""

    kind = "github-too-large"


class CannotComment(ExportError):  # noqa: N818 - named after what is lost
    """The comment could not be written; the verdict is elsewhere and unharmed."""


class CannotPublish(ExportError):  # noqa: N818 - named after what is lost
    """The assets could not be published, or not all of them."""
