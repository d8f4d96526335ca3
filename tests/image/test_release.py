"""The release workflow's own scripts, run as the runner runs them: real git and sed, a remote on disk.

`gh` and `docker` are recorders: what they would tell GitHub and a registry is what they are called with.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
IMAGE = "ghcr.io/org/export-action"
DIGEST = "sha256:" + "5" * 64
REFERENCE = f"docker://{IMAGE}:v1.2.3@{DIGEST}"

# `gh api` is asked for a tag, `gh release create` for one that must be there already.
GH = """#!/bin/bash
echo "gh $*" >> "$CALLS"
case "$1 $2" in
  "api "*) git -C "$REMOTE" rev-parse --verify --quiet "refs/tags/${2##*/}" > /dev/null ;;
  "release create")
    git -C "$REMOTE" rev-parse --verify --quiet "refs/tags/$3" > /dev/null || exit 1
    cp "${*: -1}" "$REMOTE/notes"
    exit "${GH_RELEASE:-0}" ;;
esac
"""
DOCKER = """#!/bin/bash
echo "docker $*" >> "$CALLS"
echo "$DIGEST_TOLD"
"""


@dataclass
class Repository:
    """A checkout of main with a remote, in which a version is about to be released."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, text in {"gh": GH, "docker": DOCKER}.items():
            program = self.folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(text)
            program.chmod(0o755)
        self.remote.mkdir()
        self.git("init", "--quiet", "--bare", folder=self.remote)
        self.git("clone", "--quiet", str(self.remote), str(self.checkout), folder=self.folder)
        (self.checkout / "exporter").mkdir()
        (self.checkout / "exporter/__init__.py").write_text('__version__ = "1.2.3"\n')
        (self.checkout / "CHANGELOG.md").write_text(
            "# Changelog\n\n## 1.2.3\n\n- New things.\n\n## 1.2.2\n\n- Old things.\n"
        )
        for name in ("action.yml", "Dockerfile"):
            (self.checkout / name).write_text((ROOT / name).read_text())
        self.commit()

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def remote(self) -> Path:
        return self.folder / "remote.git"

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("-c", "user.name=Mona", "-c", "user.email=mona@github.test", "commit", "--quiet", "--message", "main")
        self.git("push", "--quiet", "origin", "HEAD:refs/heads/main")

    def git(self, *arguments: str, folder: Path | None = None) -> str:
        command = ["git", "-c", "init.defaultBranch=main", *arguments]
        return subprocess.run(
            command, cwd=folder or self.checkout, env=self._environment(), check=True, capture_output=True, text=True
        ).stdout.strip()

    def step(self, job: str, name: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a step's script. Without `shell:` the runner starts `bash -e`."""
        (script,) = [step["run"] for step in WORKFLOW["jobs"][job]["steps"] if step.get("name") == name]
        assert "${{" not in script
        file = self.folder / "script.sh"
        file.write_text(script)
        environment = self._environment() | {"VERSION": "1.2.3", "DIGEST": DIGEST} | variables
        return subprocess.run(
            ["bash", "-e", str(file)], cwd=self.checkout, env=environment, capture_output=True, text=True
        )

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_REPOSITORY": "org/export-action",
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "RUNNER_TEMP": str(self.folder),
            "IMAGE": IMAGE,
            "REMOTE": str(self.remote),
            "CALLS": str(self.folder / "calls"),
            "DIGEST_TOLD": DIGEST,
        }

    def at(self, reference: str, path: str) -> str:
        """A file as whoever uses `reference` of the remote gets it."""
        return self.git("show", f"{reference}:{path}", folder=self.remote)

    def tags(self) -> list[str]:
        return self.git("tag", "--list", folder=self.remote).split()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def release(repository: Repository, **variables: str) -> subprocess.CompletedProcess[str]:
    return repository.step("publish", "Commit, tag and release", **variables)


def check(repository: Repository, **variables: str) -> subprocess.CompletedProcess[str]:
    name = "Refuse a version that is not this one, not described, or there already"
    return repository.step("check", name, **variables)


def test_the_tag_names_the_image_by_digest_and_main_builds_it(repository):
    done = release(repository)
    assert done.returncode == 0, done.stderr
    for tag in ("v1.2.3", "v1"):
        released = yaml.safe_load(repository.at(tag, "action.yml"))
        assert released["runs"] == {"using": "docker", "image": REFERENCE}
        assert released["inputs"] == yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]
    assert yaml.safe_load(repository.at("main", "action.yml"))["runs"]["image"] == "Dockerfile"
    assert repository.git("cat-file", "-t", "v1.2.3", folder=repository.remote) == "tag"


def test_the_major_version_moves(repository):
    repository.git("push", "--quiet", "origin", "HEAD:refs/tags/v1")
    before = repository.git("rev-parse", "v1", folder=repository.remote)
    assert release(repository).returncode == 0
    after = repository.git("rev-parse", "v1", folder=repository.remote)
    assert after != before
    assert after == repository.git("rev-parse", "v1.2.3^{commit}", folder=repository.remote)


def test_the_notes_are_the_section_of_the_version(repository):
    release(repository)
    assert (repository.remote / "notes").read_text().strip() == "- New things."


def test_a_release_that_can_not_be_made_does_not_move_the_major_version(repository):
    assert release(repository, GH_RELEASE="1").returncode == 1
    assert repository.tags() == ["v1.2.3"]


def test_an_action_that_names_no_dockerfile_is_not_released(repository):
    action = repository.checkout / "action.yml"
    action.write_text(action.read_text().replace("image: Dockerfile", "image: Dockerfile.other"))
    repository.commit()
    assert release(repository).returncode != 0
    assert repository.tags() == []


def test_a_version_that_may_be_released(repository):
    done = check(repository)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"GITHUB_REF": "refs/heads/feature"}, "Releases are made from main."),
        ({"VERSION": "v1.2.3"}, "Write the version like 1.2.3."),
        ({"VERSION": "1.2"}, "Write the version like 1.2.3."),
        ({"VERSION": "1.2.3; rm -rf /"}, "Write the version like 1.2.3."),
        ({"VERSION": "1.2.4"}, "__version__ is not 1.2.4."),
    ],
)
def test_a_version_that_may_not(repository, variables, said):
    done = check(repository, **variables)
    assert done.returncode == 1
    assert "::error" in done.stdout
    assert said in done.stdout


def test_a_version_without_a_section_is_refused(repository):
    (repository.checkout / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n")
    assert "There is no section for 1.2.3." in check(repository).stdout


def test_a_version_that_is_there_is_refused(repository):
    release(repository)
    done = check(repository)
    assert done.returncode == 1
    assert "The tag v1.2.3 exists." in done.stdout


@pytest.mark.parametrize(("told", "good"), [(DIGEST, True), ("", False), ("sha256:5", False)])
def test_the_base_is_pinned_by_what_the_registry_tells(repository, told, good):
    done = repository.step("check", "Pin the base image", DIGEST_TOLD=told)
    assert (done.returncode == 0) is good
    if good:
        assert (repository.folder / "output").read_text() == f"image=python:3.11-slim-bookworm@{DIGEST}\n"
