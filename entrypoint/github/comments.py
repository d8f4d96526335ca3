"""The sticky comment: one for each key, found again by its marker and by who wrote it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from entrypoint.github.client import Client
from entrypoint.github.errors import ApiError, CannotComment, MissingError, RefusedError, UnavailableError
from entrypoint.github.pulls import PullRequest
from entrypoint.render import escape

__all__ = ["BODY_LIMIT", "CommentOutcome", "marker", "room_for", "upsert_comment"]

BODY_LIMIT = 65_536
"""Characters that GitHub takes in a comment; of one more it takes none."""


@dataclass(frozen=True)
class CommentOutcome:
    """What became of a comment.

    Attributes:
        action: `stale` means not written, because the pull request has a newer commit than the report.
        url: Where the comment is; empty when there is none.
        removed: Own duplicates that were deleted.
        foreign: Comments by others that carry the same marker: left alone, and not taken for ours.
        reason: Why nothing was written, for a person; empty when something was.
    """

    action: Literal["created", "updated", "unchanged", "stale"]
    url: str
    removed: int = 0
    foreign: tuple[str, ...] = ()
    reason: str = ""


def marker(key: str) -> str:
    """The hidden first line by which a comment is found again; `key` tells several uses in one repository apart."""
    return f"<!-- export-action:report key={escape.key(key)} v=1 -->"


def room_for(key: str) -> int:
    """Characters left for the body of a comment with this key."""
    return BODY_LIMIT - len(marker(key)) - 1


def upsert_comment(client: Client, pull: PullRequest, body: str, key: str, head_sha: str) -> CommentOutcome:
    """Make the comment of `key` say `body`, on `pull`, exactly once.

    The marker goes in front of `body`. Nothing is written when the comment says so already, or when the head of the
    pull request is no longer `head_sha`. Safe to repeat, and safe against a second run doing the same.

    Args:
        body: Markdown, at most `room_for(key)` characters.
        head_sha: The commit that the report is about.

    Raises:
        CannotComment: With the reason, and what to change.
    """
    if len(body) > room_for(key):
        raise CannotComment(
            "comment-too-long",
            f"The comment has {len(body):,} characters; GitHub takes {room_for(key):,} beside its marker.",
            "Render it to fit.",
        )
    task = _Task(client, pull, f"{marker(key)}\n{body}", marker(key), head_sha)
    before: ApiError | None = None
    for attempt in range(1, client.patience.attempts + 1):
        try:
            outcome = task.do()
        except _LookAgainError as again:
            before = again.cause
            client.pause(attempt)
        except ApiError as error:
            raise _explained(error, pull) from None
        else:
            return _arrived(outcome) if isinstance(before, UnavailableError) else outcome
    assert before is not None
    raise _explained(before, pull)


def _arrived(outcome: CommentOutcome) -> CommentOutcome:
    """The outcome when an earlier attempt got no answer: a comment that is there now is the one it made."""
    return replace(outcome, action="created", reason="") if outcome.action == "unchanged" else outcome


class _LookAgainError(Exception):
    """The comments are not as we saw them, or may not be: start over."""

    def __init__(self, cause: ApiError) -> None:
        self.cause = cause


@dataclass(frozen=True)
class _Comment:
    id: int
    url: str
    body: str
    author: str

    def says(self, text: str) -> bool:
        # Someone who edits a comment in a browser leaves CRLF behind.
        return self.body.replace("\r\n", "\n").rstrip() == text.rstrip()


@dataclass(frozen=True)
class _Task:
    client: Client
    pull: PullRequest
    text: str
    marker: str
    head_sha: str

    def do(self) -> CommentOutcome:
        marked = self._marked()
        me = self.client.login() if marked else ""
        mine = [comment for comment in marked if comment.author == me]
        foreign = tuple(comment.url for comment in marked if comment.author != me)
        if len(mine) == 1 and mine[0].says(self.text):
            return CommentOutcome("unchanged", mine[0].url, foreign=foreign, reason="the comment says so already")
        head = self._head()
        if head != self.head_sha:
            moved = f"#{self.pull.number} has moved on to {head[:7]}; this report is for {self.head_sha[:7]}"
            return CommentOutcome("stale", mine[0].url if mine else "", foreign=foreign, reason=moved)
        if mine:
            return self._settle(mine, foreign)
        created = self._create()
        # A run beside us may have found no comment either: whoever looks last leaves one, the oldest.
        rivals = [found for found in self._marked() if found.author == created.author and found.id != created.id]
        settled = self._settle(sorted([created, *rivals], key=lambda comment: comment.id), foreign)
        return CommentOutcome("created", settled.url, settled.removed, foreign)

    def _settle(self, mine: list[_Comment], foreign: tuple[str, ...]) -> CommentOutcome:
        keep, duplicates = mine[0], mine[1:]
        if not keep.says(self.text):
            self._edit(keep)
        removed = sum(self._delete(duplicate) for duplicate in duplicates)
        return CommentOutcome("updated", keep.url, removed, foreign)

    def _marked(self) -> list[_Comment]:
        """All comments that begin with the marker, oldest first."""
        pages = self.client.repository.get_issue(self.pull.number).get_comments()

        def request() -> list[_Comment]:
            # PaginatedList remembers the pages it has: a repeat goes on where the last one failed.
            return [
                _Comment(comment.id, comment.html_url, comment.body or "", comment.user.login if comment.user else "")
                for comment in pages
                if (comment.body or "").startswith(self.marker)
            ]

        found = self.client.ask(f"list the comments of #{self.pull.number}", request)
        return sorted(found, key=lambda comment: comment.id)

    def _head(self) -> str:
        number = self.pull.number
        return self.client.ask(f"read #{number}", lambda: self.client.repository.get_pull(number).head.sha)

    def _create(self) -> _Comment:
        issue = self.client.repository.get_issue(self.pull.number)

        def request() -> _Comment:
            comment = issue.create_comment(self.text)
            return _Comment(comment.id, comment.html_url, self.text, comment.user.login)

        try:
            return self.client.create(f"comment on #{self.pull.number}", request)
        except UnavailableError as error:
            raise _LookAgainError(error) from None

    def _edit(self, comment: _Comment) -> None:
        issue = self.client.repository.get_issue(self.pull.number)
        what = f"update the comment on #{self.pull.number}"
        try:
            self.client.ask(what, lambda: issue.get_comment(comment.id).edit(self.text))
        except MissingError as error:  # deleted since we looked
            raise _LookAgainError(error) from None

    def _delete(self, comment: _Comment) -> bool:
        issue = self.client.repository.get_issue(self.pull.number)
        what = f"delete a duplicate comment on #{self.pull.number}"
        try:
            self.client.ask(what, lambda: issue.get_comment(comment.id).delete())
        except MissingError:  # someone was faster
            return False
        return True


def _explained(error: ApiError, pull: PullRequest) -> CannotComment:
    problem = error.problem
    if isinstance(error, RefusedError) and "locked" in error.reason:
        return CannotComment(
            "comment-locked",
            f"The conversation of #{pull.number} is locked, so the report was not posted there.",
            "Unlock it, or read the report in the job summary.",
        )
    if isinstance(error, RefusedError) and "not accessible" in error.reason:
        return CannotComment("comment-permission", problem.message, _PERMISSION[pull.origin])
    if isinstance(error, MissingError):
        hint = "Check the number, and that the job has `permissions: pull-requests: write` in this repository."
        return CannotComment(problem.kind, problem.message, hint)
    return CannotComment(problem.kind, problem.message, problem.hint)


_WORKFLOW_RUN = (
    "The report is in the job summary; to get comments here as well, add the second workflow (`on: workflow_run`, "
    "`command: report`) from the documentation."
)
_PERMISSION = {
    "repository": "Give the job `permissions: pull-requests: write`; a token of your own needs the same right.",
    "fork": f"GitHub gives runs for a pull request from a fork a read-only token. {_WORKFLOW_RUN}",
    "dependabot": f"GitHub gives runs for Dependabot a read-only token. {_WORKFLOW_RUN}",
}
