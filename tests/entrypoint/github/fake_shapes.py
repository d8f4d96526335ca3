"""The JSON of GitHub's API, as far as its OpenAPI description requires it; `test_contract.py` holds it to that."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

__all__ = ["artifact", "asset", "comment", "pull", "release", "repository", "timestamp", "user"]

_USER_LINKS = (
    "followers", "following", "gists", "starred", "subscriptions", "organizations", "repos", "events",
    "received_events",
)  # fmt: skip
_REPOSITORY_LINKS = (
    "archive", "assignees", "blobs", "branches", "collaborators", "comments", "commits", "compare", "contents",
    "contributors", "deployments", "downloads", "events", "forks", "git_commits", "git_refs", "git_tags", "hooks",
    "issue_comment", "issue_events", "issues", "keys", "labels", "languages", "merges", "milestones", "notifications",
    "pulls", "releases", "stargazers", "statuses", "subscribers", "subscription", "tags", "teams", "trees",
)  # fmt: skip
_COUNTS = (
    "forks", "forks_count", "open_issues", "open_issues_count", "size", "stargazers_count", "watchers",
    "watchers_count", "network_count", "subscribers_count",
)  # fmt: skip
_YES_OR_NO = (
    "private", "has_issues", "has_projects", "has_wiki", "has_pages", "has_discussions", "has_downloads", "archived",
    "disabled",
)  # fmt: skip


def timestamp(second: int) -> str:
    """A time in the form of the API; larger numbers are later."""
    moment = datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=second)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def user(api: str, login: str, kind: str) -> dict[str, Any]:
    number = sum(map(ord, login))
    url = f"{api}/users/{quote(login)}"
    return {
        "login": login,
        "id": number,
        "node_id": f"U_{number}",
        "type": kind,
        "site_admin": False,
        "gravatar_id": "",
        "avatar_url": f"{api}/avatars/{number}",
        "html_url": f"{api}/{quote(login)}",
        "url": url,
        **{f"{link}_url": f"{url}/{link}" for link in _USER_LINKS},
    }


def repository(api: str, full_name: str, number: int, fork: bool, default_branch: str) -> dict[str, Any]:
    owner, name = full_name.split("/")
    url = f"{api}/repos/{full_name}"
    web = f"https://github.test/{full_name}"
    return {
        "id": number,
        "node_id": f"R_{number}",
        "name": name,
        "full_name": full_name,
        "owner": user(api, owner, "Organization"),
        "fork": fork,
        "default_branch": default_branch,
        "description": None,
        "homepage": None,
        "language": None,
        "license": None,
        "mirror_url": None,
        "url": url,
        "html_url": web,
        "clone_url": f"{web}.git",
        "svn_url": web,
        "git_url": f"git://github.test/{full_name}.git",
        "ssh_url": f"git@github.test:{full_name}.git",
        "pushed_at": timestamp(0),
        "created_at": timestamp(0),
        "updated_at": timestamp(0),
        **{f"{link}_url": f"{url}/{link}" for link in _REPOSITORY_LINKS},
        **dict.fromkeys(_COUNTS, 0),
        **dict.fromkeys(_YES_OR_NO, False),
    }


def pull(api: str, base: dict[str, Any], head: dict[str, Any] | None, facts: dict[str, Any]) -> dict[str, Any]:
    """A pull request; `facts` has number, state, locked, author, head_ref, head_sha, base_ref and base_sha."""
    number = facts["number"]
    url = f"{base['url']}/pulls/{number}"
    issue = f"{base['url']}/issues/{number}"
    web = f"{base['html_url']}/pull/{number}"
    author = user(api, facts["author"], "User")

    def side(source: dict[str, Any] | None, ref: str, sha: str) -> dict[str, Any]:
        owner = source["owner"] if source else author
        return {"label": f"{owner['login']}:{ref}", "ref": ref, "sha": sha, "repo": source, "user": owner}

    links = {
        "self": url, "html": web, "issue": issue, "comments": f"{issue}/comments", "commits": f"{url}/commits",
        "review_comments": f"{url}/comments", "review_comment": f"{url}/comments{{/number}}",
        "statuses": f"{base['url']}/statuses/{facts['head_sha']}",
    }  # fmt: skip
    return {
        "id": number,
        "node_id": f"PR_{number}",
        "number": number,
        "state": facts["state"],
        "locked": facts["locked"],
        "title": f"Pull request {number}",
        "body": None,
        "user": author,
        "labels": [],
        "milestone": None,
        "assignee": None,
        "author_association": "CONTRIBUTOR",
        "auto_merge": None,
        "url": url,
        "html_url": web,
        "diff_url": f"{web}.diff",
        "patch_url": f"{web}.patch",
        "issue_url": issue,
        "comments_url": links["comments"],
        "commits_url": links["commits"],
        "review_comments_url": links["review_comments"],
        "review_comment_url": links["review_comment"],
        "statuses_url": links["statuses"],
        "merge_commit_sha": None,
        "created_at": timestamp(number),
        "updated_at": timestamp(number),
        "closed_at": None,
        "merged_at": None,
        "head": side(head, facts["head_ref"], facts["head_sha"]),
        "base": side(base, facts["base_ref"], facts["base_sha"]),
        "_links": {name: {"href": link} for name, link in links.items()},
    }


def pull_details() -> dict[str, Any]:
    """What one pull request has beside what the list says."""
    counts = ("additions", "changed_files", "comments", "commits", "deletions", "review_comments")
    return {
        **dict.fromkeys(counts, 0),
        "mergeable": None,
        "mergeable_state": "unknown",
        "merged": False,
        "merged_by": None,
        "maintainer_can_modify": False,
    }


def comment(base: dict[str, Any], number: int, issue: int, body: str, author: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": number,
        "node_id": f"IC_{number}",
        "url": f"{base['url']}/issues/comments/{number}",
        "html_url": f"{base['html_url']}/pull/{issue}#issuecomment-{number}",
        "issue_url": f"{base['url']}/issues/{issue}",
        "user": author,
        "author_association": "NONE",
        "body": body,
        "created_at": timestamp(number),
        "updated_at": timestamp(number),
    }


def asset(base: dict[str, Any], place: str, facts: dict[str, Any], uploader: dict[str, Any]) -> dict[str, Any]:
    """A release asset; `facts` has id, name, state, size, digest and content_type; `place` is the release's path."""
    return {
        **facts,
        "node_id": f"RA_{facts['id']}",
        "label": "",
        "uploader": uploader,
        "download_count": 0,
        "url": f"{base['url']}/releases/assets/{facts['id']}",
        "browser_download_url": f"{base['html_url']}/releases/download/{place}/{facts['name']}",
        "created_at": timestamp(facts["id"]),
        "updated_at": timestamp(facts["id"]),
    }


def release(
    base: dict[str, Any], uploads: str, place: str, facts: dict[str, Any], author: dict[str, Any]
) -> dict[str, Any]:
    """A release; `facts` has what was set on it, and its assets as JSON."""
    number = facts["id"]
    url = f"{base['url']}/releases/{number}"
    return {
        **facts,
        "node_id": f"RE_{number}",
        "author": author,
        "url": url,
        "assets_url": f"{url}/assets",
        "upload_url": f"{uploads}/repos/{base['full_name']}/releases/{number}/assets{{?name,label}}",
        "html_url": f"{base['html_url']}/releases/tag/{place}",
        "tarball_url": None if facts["draft"] else f"{base['url']}/tarball/{quote(facts['tag_name'])}",
        "zipball_url": None if facts["draft"] else f"{base['url']}/zipball/{quote(facts['tag_name'])}",
        "created_at": timestamp(number),
        "published_at": None if facts["draft"] else timestamp(number),
    }


def artifact(base: dict[str, Any], facts: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """An artifact; `facts` has id, name, size_in_bytes, expired and digest."""
    url = f"{base['url']}/actions/artifacts/{facts['id']}"
    return {
        **facts,
        "node_id": f"A_{facts['id']}",
        "url": url,
        "archive_download_url": f"{url}/zip",
        "created_at": timestamp(facts["id"]),
        "updated_at": timestamp(facts["id"]),
        "expires_at": timestamp(facts["id"] + 90 * 86_400),
        "workflow_run": run,
    }
