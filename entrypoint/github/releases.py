"""Publishing files as assets of a release: all of them, whole, or a reason."""

from __future__ import annotations

import hashlib
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal
from urllib.parse import urlencode

import github.GitRelease
import github.GitReleaseAsset
from github.GithubObject import NotSet

from entrypoint.github.client import Client
from entrypoint.github.errors import ApiError, CannotPublish, InvalidError, MissingError, RefusedError, UnavailableError

__all__ = ["CHECKSUMS", "AssetFile", "Published", "PublishedAsset", "ReleaseNotes", "asset_name", "publish_assets"]

CHECKSUMS = "SHA256SUMS"
"""Name of the asset with a line for each other one, as ``sha256sum --check`` reads it."""

# https://docs.github.com/en/repositories/releasing-projects-on-github/about-releases#storage-and-bandwidth-quotas
_SIZE_LIMIT = 2 << 30  # bytes; an asset must be smaller
_COUNT_LIMIT = 1_000

# Ends the notes of a release that we made, so that a later run knows a draft of ours from one of a person.
_OURS = "<!-- export-action:release v=1 -->"

Action = Literal["uploaded", "replaced", "kept"]


@dataclass(frozen=True)
class AssetFile:
    """A file to publish. `name` is what people download; GitHub must be able to keep it: see `asset_name`."""

    path: Path
    name: str


@dataclass(frozen=True)
class ReleaseNotes:
    """What a release says where we have to make it; one that exists keeps its own words.

    Attributes:
        body: Markdown.
        target: Commit or branch for the tag, where that doesn't exist yet; empty for the default branch.
    """

    title: str
    body: str = ""
    prerelease: bool = False
    target: str = ""


@dataclass(frozen=True)
class PublishedAsset:
    """An asset that is in the release now; `kept` means that it already was, byte for byte."""

    name: str
    url: str
    bytes: int
    sha256: str
    action: Action


@dataclass(frozen=True)
class Published:
    """A release that has all the files.

    Attributes:
        draft: Still a draft, because a person had prepared it and decides when it is published.
        created: Made by this call.
        assets: The files, then `CHECKSUMS`.
    """

    tag: str
    url: str
    draft: bool
    created: bool
    assets: tuple[PublishedAsset, ...]


def asset_name(text: str) -> str:
    """A name that GitHub keeps as it is: letters and digits of ASCII, and ``. - _ + @``.

    >>> asset_name("org/Modèle v2-onnx.zip")
    'org.Modele.v2-onnx.zip'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._+@-]+", ".", plain)).rstrip(".")
    return f"default{name}" if name.startswith(".") else name or "default"


def publish_assets(client: Client, tag: str, files: Sequence[AssetFile], notes: ReleaseNotes) -> Published:
    """Bring `files` and their checksums into the release of `tag`, and publish it.

    A release that is missing is made as a draft and published when everything is up and verified, so nobody ever sees
    half of it; immutable releases work only this way. One that exists is added to: equal files are left alone,
    different ones replaced. Run it again after a failure: it goes on where it stopped.

    Files go up one after the other, because GitHub limits how fast content may be created.

    Raises:
        CannotPublish: With the reason, and what to change. Before anything is sent where a file can't be published.
    """
    contents = [_content(file) for file in files]
    _check(contents)
    upload = _Upload(client, tag)
    try:
        return upload.run(contents, notes)
    except ApiError as error:
        raise upload.explained(error) from None


@dataclass(frozen=True)
class _Content:
    name: str
    size: int
    sha256: str
    open: Callable[[], BinaryIO]


@dataclass(frozen=True)
class _Release:
    id: int
    tag: str
    url: str
    upload_url: str
    draft: bool
    immutable: bool
    ours: bool


@dataclass(frozen=True)
class _Asset:
    id: int
    name: str
    state: str
    size: int
    digest: str
    url: str

    def is_known_as(self, content: _Content) -> bool:
        """Whether GitHub vouches that it has these bytes. An old asset has no digest: then it can't."""
        return self._is_whole(content) and self.digest == f"sha256:{content.sha256}"

    def took(self, content: _Content) -> bool:
        """Whether what was just uploaded arrived whole; by size alone where the server gives no digest."""
        return self._is_whole(content) and self.digest in ("", f"sha256:{content.sha256}")

    def _is_whole(self, content: _Content) -> bool:
        return self.state == "uploaded" and self.size == content.size


def _content(file: AssetFile) -> _Content:
    try:
        size = file.path.stat().st_size
    except OSError as error:
        raise CannotPublish("asset-missing", f"{file.path} can't be read: {error.strerror}.") from None
    if size >= _SIZE_LIMIT:
        raise CannotPublish(
            "asset-too-large",
            f"{file.path} has {size / (1 << 30):.2f} GiB; GitHub takes assets below 2 GiB. Nothing was uploaded.",
            "Leave the model out of the release, export it in a smaller precision, or upload it elsewhere.",
        )
    if size == 0:
        raise CannotPublish("asset-empty", f"{file.path} is empty; GitHub takes no empty assets.")
    return _Content(file.name, size, _sha256(file.path), lambda: file.path.open("rb"))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check(contents: Sequence[_Content]) -> None:
    names: set[str] = set()
    for content in contents:
        if content.name != asset_name(content.name):
            raise CannotPublish(
                "asset-name",
                f"GitHub would rename the asset {content.name!r}.",
                f"Name it {asset_name(content.name)!r}.",
            )
        if content.name == CHECKSUMS or content.name in names:
            raise CannotPublish("asset-name", f"Two files would be the asset {content.name!r}.", "Rename one of them.")
        names.add(content.name)


class _Upload:
    """One call of `publish_assets`; knows how far it came, for the message when it fails."""

    def __init__(self, client: Client, tag: str) -> None:
        self._client = client
        self._tag = tag
        self._release: _Release | None = None
        self._done: dict[str, Action] = {}
        self._all = 0

    def run(self, contents: Sequence[_Content], notes: ReleaseNotes) -> Published:
        self._all = len(contents)
        release = self._release = self._find()
        created = release is None
        if release is None:
            release = self._release = self._make(notes)
        there = self._assets(release)
        self._check_room(release, there, contents)
        for content in contents:
            self._done[content.name] = self._place(release, content, there.get(content.name))
        there = self._assets(release)
        for content in contents:
            self._verify(there.get(content.name), content)
        checksums = _checksums(contents, there.values())
        self._done[CHECKSUMS] = self._place(release, checksums, there.get(CHECKSUMS))
        if release.draft and release.ours:
            release = self._publish(release)
        there = self._assets(release)  # once more: publishing changes the URLs
        placed = [*contents, checksums]
        return Published(self._tag, release.url, release.draft, created, tuple(self._told(c, there) for c in placed))

    def explained(self, error: ApiError) -> CannotPublish:
        """The error for a person, with what is in the release now."""
        problem, said = error.problem, error.reason.lower()
        message = f"{problem.message}{self._progress()}"
        if "immutable" in said:
            return CannotPublish("release-immutable", message, _NEW_TAG)
        if "rule violations" in said or "valid tag" in said:
            hint = f"A ruleset of the repository keeps the token from making the tag {self._tag}: push the tag first."
            return CannotPublish("release-ruleset", message, hint)
        if isinstance(error, RefusedError) and error.status == 403:
            return CannotPublish(
                "release-permission", message, f"Give the job `permissions: contents: write`. {_WORKFLOWS}"
            )
        if isinstance(error, MissingError):
            return CannotPublish(
                "release-permission",
                message,
                f"Give the job `permissions: contents: write`; GitHub hides what a token may not change. {_WORKFLOWS}",
            )
        return CannotPublish(problem.kind, message, problem.hint)

    def _progress(self) -> str:
        if self._release is None:
            return ""
        kind = "draft of " if self._release.draft else ""
        count = sum(name != CHECKSUMS for name in self._done)
        return (
            f" The {kind}release {self._tag} has {count} of {self._all} files; run the job again to go on from there."
        )

    def _find(self) -> _Release | None:
        """The published release of the tag, else the oldest draft for it."""
        repository = self._client.repository
        try:
            return self._client.ask(
                f"read release {self._tag}", lambda: _release(repository.get_release(self._tag).complete())
            )
        except MissingError:
            drafts = self._drafts()
            return drafts[0] if drafts else None

    def _drafts(self) -> list[_Release]:
        pages = self._client.repository.get_releases()
        found = self._client.ask(
            "list the releases",
            lambda: [_release(release) for release in pages if release.draft and release.tag_name == self._tag],
        )
        return sorted(found, key=lambda release: release.id)

    def _make(self, notes: ReleaseNotes) -> _Release:
        body = f"{notes.body}\n\n{_OURS}".lstrip()

        def request() -> _Release:
            return _release(
                self._client.repository.create_git_release(
                    self._tag,
                    notes.title,
                    body,
                    draft=True,
                    prerelease=notes.prerelease,
                    target_commitish=notes.target or NotSet,
                    make_latest="legacy",
                )
            )

        for attempt in range(1, self._client.patience.attempts + 1):
            try:
                made = self._client.create(f"make a draft of release {self._tag}", request)
            except UnavailableError as error:
                failure = error
                self._client.pause(attempt)
                found = self._find()
                if found is not None:
                    return found
            else:
                return self._settle(made)
        raise failure

    def _settle(self, made: _Release) -> _Release:
        """Give up our draft for an older one that a run beside us made at the same time."""
        oldest = min([made, *self._drafts()], key=lambda release: release.id)
        if oldest.id != made.id:
            release = self._client.repository.get_release(made.id)
            with suppress(MissingError):  # a repeat of a deletion that had worked
                self._client.ask(f"delete the second draft of release {self._tag}", release.delete_release)
        return oldest

    def _assets(self, release: _Release) -> dict[str, _Asset]:
        pages = self._client.repository.get_release(release.id).get_assets()
        found = self._client.ask(f"list the assets of release {self._tag}", lambda: [_listed(asset) for asset in pages])
        return {asset.name: asset for asset in found}

    def _check_room(self, release: _Release, there: Mapping[str, _Asset], contents: Sequence[_Content]) -> None:
        missing = [content for content in contents if not _has(there, content)]
        if release.immutable and missing:
            raise CannotPublish(
                "release-immutable",
                f"Release {self._tag} is immutable: its assets can't be changed any more, and {missing[0].name} is "
                f"missing or different ({len(missing)} of {len(contents)} files).",
                _NEW_TAG,
            )
        count = len(there.keys() | {content.name for content in contents} | {CHECKSUMS})
        if count > _COUNT_LIMIT:
            raise CannotPublish(
                "release-full",
                f"Release {self._tag} would have {count:,} assets; GitHub takes {_COUNT_LIMIT:,}.",
                "Publish fewer models in a release.",
            )

    def _place(self, release: _Release, content: _Content, there: _Asset | None) -> Action:
        """Make the asset be `content`; after a failure see what is there, clear it away, try again."""
        if there is not None and there.is_known_as(content):
            return "kept"
        action: Action = "replaced" if there is not None and there.state == "uploaded" else "uploaded"
        what = f"upload {content.name} to release {self._tag}"
        for attempt in range(1, self._client.patience.attempts + 1):
            if there is not None:
                self._delete(there)
            try:
                arrived = self._send(what, release, content)
            except UnavailableError as error:
                failure: ApiError = error
            except InvalidError as error:
                # A failed upload may leave its name taken, in the state "starter".
                if "already_exists" not in error.reason:
                    raise
                failure = error
            else:
                if arrived.took(content):
                    return action
                failure = _damaged(what, arrived, content)
            self._client.pause(attempt)
            there = self._assets(release).get(content.name)
            if there is not None and there.is_known_as(content):
                return action
        raise failure

    def _send(self, what: str, release: _Release, content: _Content) -> _Asset:
        url = f"{release.upload_url}?{urlencode({'name': content.name})}"
        with content.open() as stream:
            return self._client.upload(what, url, stream, _uploaded)

    def _delete(self, asset: _Asset) -> None:
        found = self._client.repository.get_release_asset(asset.id)
        with suppress(MissingError):  # gone is what we wanted
            self._client.ask(f"delete the old {asset.name} of release {self._tag}", found.delete_asset)

    def _verify(self, asset: _Asset | None, content: _Content) -> None:
        if asset is None:
            raise ApiError(
                f"{content.name} was uploaded to release {self._tag}, but GitHub does not list it.",
                "Another run may be publishing the same release: publish from one job, with `concurrency`.",
            )
        if not asset.took(content):
            raise _damaged(f"upload {content.name} to release {self._tag}", asset, content)

    def _publish(self, release: _Release) -> _Release:
        def request() -> _Release:
            draft = self._client.repository.get_release(release.id).complete()
            return _release(
                draft.update_release(
                    draft.name or self._tag,
                    draft.body or "",
                    draft=False,
                    prerelease=draft.prerelease,
                    make_latest="legacy",
                )
            )

        return self._client.ask(f"publish release {self._tag}", request)

    def _told(self, content: _Content, there: Mapping[str, _Asset]) -> PublishedAsset:
        url = there[content.name].url if content.name in there else ""
        return PublishedAsset(content.name, url, content.size, content.sha256, self._done[content.name])


_NEW_TAG = "An immutable release stays as it was published: publish these files under a new tag."
_CONTENTS_WRITE = "Give the job `permissions: contents: write`"
_WORKFLOWS = (
    "Where the tagged commit changes files in .github/workflows, GITHUB_TOKEN may not make the release at all: "
    "make it by hand or with a token that has the right `workflows`."
)


def _has(there: Mapping[str, _Asset], content: _Content) -> bool:
    return content.name in there and there[content.name].is_known_as(content)


def _damaged(what: str, asset: _Asset, content: _Content) -> ApiError:
    return ApiError(
        f"The request to {what} ended with a file that is not what was sent: state {asset.state}, {asset.size:,} bytes "
        f"and {asset.digest or 'no digest'}; sent were {content.size:,} bytes and sha256:{content.sha256}.",
        "Run the job again.",
    )


def _checksums(contents: Sequence[_Content], there: Iterable[_Asset]) -> _Content:
    """`CHECKSUMS` for the whole release: our files, and what others put there as far as GitHub knows its digest."""
    sums = {
        asset.name: asset.digest.removeprefix("sha256:")
        for asset in there
        if asset.state == "uploaded" and asset.digest.startswith("sha256:") and asset.name != CHECKSUMS
    }
    sums.update({content.name: content.sha256 for content in contents})
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode()
    return _Content(CHECKSUMS, len(text), hashlib.sha256(text).hexdigest(), lambda: io.BytesIO(text))


def _release(release: github.GitRelease.GitRelease) -> _Release:
    return _Release(
        id=release.id,
        tag=release.tag_name,
        url=release.html_url,
        upload_url=release.upload_url.partition("{")[0],
        draft=release.draft,
        immutable=bool(release.immutable),
        ours=_OURS in (release.body or ""),
    )


def _listed(asset: github.GitReleaseAsset.GitReleaseAsset) -> _Asset:
    # By attribute: `raw_data` would ask for each asset again.
    return _Asset(asset.id, asset.name, asset.state, asset.size, asset.digest or "", asset.browser_download_url)


def _uploaded(data: Mapping[str, Any]) -> _Asset:
    return _Asset(
        id=int(data["id"]),
        name=data["name"],
        state=data["state"],
        size=int(data["size"]),
        digest=data.get("digest") or "",
        url=data["browser_download_url"],
    )
