"""Files that are no manifest: whatever the bytes, a clear error, soon."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml

from exporter.manifest import Manifest, ManifestErrors, load, parse, reading

VALID = "version: 1\nmodels:\n  - name: a\n    model: org/a\n"


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both parsers that PyYAML has."""
    if request.param == "libyaml" and not yaml.__with_libyaml__:
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(reading, "_Loader", yaml.CSafeLoader if request.param == "libyaml" else yaml.SafeLoader)
    return str(request.param)


def errors(content: bytes, folder: Path) -> list[str]:
    path = folder / "export.yml"
    path.write_bytes(content)
    with pytest.raises(ManifestErrors) as caught:
        load([path])
    return [str(error).removeprefix(f"{path}:") for error in caught.value.errors]


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"# a comment\n", b"---\n", b"~", b"null\n", b"--- # nothing\n...\n"],
)
def test_empty(content: bytes, tmp_path: Path) -> None:
    assert errors(content, tmp_path) == ["1:1: the manifest is empty; it needs 'version: 1' and 'models:'"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (VALID.encode("utf-8-sig"), "1:1: the file starts with a byte order mark; save it as UTF-8 without BOM"),
        (VALID.encode("utf-16"), "1:1: the file is UTF-16; save it as UTF-8"),
        (VALID.encode("utf-16-be"), "1:1: the character U+0000 can't stand in a manifest"),
        (VALID.encode() + "# Größe".encode("latin-1"), "5:5: the file is not UTF-8: byte 0xf6 does not belong here"),
        (b"\xff" * 100, "1:1: the file is not UTF-8: byte 0xff does not belong here"),
        (b"\x80", "1:1: the file is not UTF-8: byte 0x80 does not belong here"),
        (b"version: 1\nmodels:\n\t- name: a\n", "3:1: a tab; a manifest is written with spaces"),
        (b"version: 1\t# one\n", "1:11: a tab; a manifest is written with spaces"),
        (b"version: 1\rmodels: []\r", "1:11: the character U+000D can't stand in a manifest"),
        ("version: 1 \u2028".encode(), "1:12: the character U+2028 can't stand in a manifest"),
        (b"version: 1\n\x1b[31m", "2:1: the character U+001B can't stand in a manifest"),
        (b"x" * (1024 * 1024 + 1), "1:1: the file is larger than 1,048,576 bytes, which no manifest needs"),
    ],
)
def test_characters(content: bytes, expected: str, tmp_path: Path) -> None:
    assert errors(content, tmp_path)[0] == expected


def test_every_tab_is_told(tmp_path: Path) -> None:
    assert len(errors(b"a:\n\t- b\n\t- c\n\t- d\n", tmp_path)) == 3


def test_windows_line_ends_are_lines(tmp_path: Path) -> None:
    content = VALID.replace("\n", "\r\n").encode() + b"    taks: x\r\n"
    assert errors(content, tmp_path) == ["5:5: models[0]: unknown key 'taks'; did you mean 'task'?"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{VALID}---\n{VALID}", "5:1: a second document; a manifest is one"),
        ("a: !!python/object/apply:os.system [id]", "1:4: a tag ('tag:yaml.org,2002:python/object/apply:os.system')"),
        ("a: !mine b", "1:4: a tag ('!mine')"),
        ("a: *b", "1:4: the alias '*b' has no anchor before it"),
        ("a: &a [*a]", "1:8: the alias '*a' stands inside its own anchor"),
        ("&a {*a : b}", "1:5: the alias '*a' stands inside its own anchor"),
        ("[" * 100, "1:21: nested deeper than 20 levels"),
        ("a: b: c", "1:5: not valid YAML: mapping values are not allowed"),
        ("a: 'b", "1:6: not valid YAML: "),
        ("a: [b", "not valid YAML: "),
        ("- a\nb: c", "2:1: not valid YAML: "),
        ("a: @b", "1:4: not valid YAML: found character "),
        ('a: "\\q"', "not valid YAML: "),
        ("%YAML 3.0\n---\na", "not valid YAML: "),
        ('a: "\\0"', "1:4: the text holds the character U+0000"),
        ('a: "\\x1b[31m"', "1:4: the text holds the character U+001B"),
    ],
)
def test_yaml(text: str, expected: str, tmp_path: Path) -> None:
    assert any(expected in error for error in errors(text.encode(), tmp_path))


def test_syntax_errors_say_what_to_do(tmp_path: Path) -> None:
    (error,) = errors(f"{VALID}    task: a: b\n".encode(), tmp_path)
    assert error.startswith("5:12: not valid YAML: mapping values are not allowed")
    assert error.endswith("; put quotes around text that holds ': '")


def bomb(levels: int, width: int) -> str:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]" for level in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        bomb(levels=15, width=10),
        bomb(levels=10_000, width=1),
        bomb(levels=3, width=1000),
        "[" * 1_000_000,
        "- " * 500_000,
        "{a: " * 200_000,
        "? " * 500_000,
        "&a " * 300_000,
        "a: &a [" + "b, " * 10_000 + "]\nc: [" + "*a, " * 10_000 + "]",
        "x" * 300_000,
        "'" * 300_000,
        "a: 1" + "0" * 300_000,
        "a: 1e" + "9" * 300_000,
        "#" * 300_000,
    ],
    ids=lambda text: f"{text[:12]!r}",
)
def test_bombs(text: str, tmp_path: Path) -> None:
    start = time.process_time()
    assert errors(text.encode(), tmp_path)
    assert time.process_time() - start < 20


def test_a_thousand_models(tmp_path: Path, parser: str) -> None:
    models = "".join(
        f"  - name: model-{number}\n    model: org/model-{number}\n    formats:\n      onnx: {{opset: 18}}\n"
        for number in range(1000)
    )
    start = time.process_time()
    assert len(parse(f"version: 1\nmodels:\n{models}".encode(), tmp_path / "export.yml").entries) == 1000
    assert time.process_time() - start < (6 if parser == "libyaml" else 30)


class TestPath:
    """What a caller can name besides a manifest."""

    def error(self, path: Path) -> str:
        with pytest.raises(ManifestErrors) as caught:
            load([path])
        (error,) = caught.value.errors
        return str(error).removeprefix(f"{path}:")

    def test_missing(self, tmp_path: Path) -> None:
        (tmp_path / "exports.yaml").write_text(VALID)
        assert self.error(tmp_path / "export.yml") == "1:1: there is no such file; did you mean 'exports.yaml'?"
        assert self.error(tmp_path / "no" / "such" / "export.yml") == "1:1: there is no such file"

    def test_folder(self, tmp_path: Path) -> None:
        assert self.error(tmp_path) == "1:1: a folder; expected a file"

    def test_pipe_and_device(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert self.error(tmp_path / "pipe") == "1:1: a device or pipe; expected a file"
        assert self.error(Path("/dev/zero")) == "1:1: a device or pipe; expected a file"

    def test_ten_megabytes(self, tmp_path: Path) -> None:
        (tmp_path / "export.yml").write_bytes(os.urandom(10_000_000))
        assert self.error(tmp_path / "export.yml").startswith("1:1: the file is larger than 1,048,576 bytes")

    def test_unreadable(self, tmp_path: Path) -> None:
        path = tmp_path / "export.yml"
        path.write_text(VALID)
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("this user reads everything")
        assert self.error(path) == "1:1: the file can't be read: Permission denied"

    def test_link_that_leaves_the_tree(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("password: hunter2")
        (tmp_path / "work").mkdir()
        link = tmp_path / "work" / "export.yml"
        link.symlink_to("../secret")
        error = self.error(link)
        assert error == "1:1: a symbolic link that leaves the repository, or the folder where there is none"

    def test_link_in_the_tree(self, tmp_path: Path) -> None:
        (tmp_path / ".git").mkdir()
        (tmp_path / "shared.yml").write_text(VALID)
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "export.yml").symlink_to("../shared.yml")
        assert isinstance(load([tmp_path / "work" / "export.yml"]), Manifest)

    def test_link_to_itself(self, tmp_path: Path) -> None:
        (tmp_path / "export.yml").symlink_to("export.yml")
        assert self.error(tmp_path / "export.yml") == "1:1: there is no such file"
