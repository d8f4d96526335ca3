"""Commands and files as the runner reads them."""

from __future__ import annotations

import io
import re
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrypoint import workflow
from entrypoint.workflow import Annotation, FileCommandError

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


class Runner:
    """What the runner makes of a log, by the rules in its ActionCommand.cs and ActionCommandManager.cs."""

    KNOWN = ("error", "warning", "notice", "debug", "group", "endgroup", "add-mask", "stop-commands", "set-output")

    def __init__(self, log: str) -> None:
        self.commands: list[tuple[str, dict[str, str], str]] = []
        self.text: list[str] = []
        self._token: str | None = None
        for line in re.split(r"\r\n|\r|\n", log):
            self._read(line)

    def _read(self, line: str) -> None:
        parsed = self._parse(line.lstrip())
        if self._token is not None:
            if parsed is not None and parsed[0] == self._token:
                self._token = None
            else:
                self.text.append(line)
        elif parsed is None:
            self.text.append(line)
        elif parsed[0] == "stop-commands":
            self._token = parsed[2]
        else:
            self.commands.append(parsed)

    def _parse(self, line: str) -> tuple[str, dict[str, str], str] | None:
        match = re.match(r"::([^ :]*)(?: (.*?))?::(.*)", line, re.DOTALL)
        if match and match.group(1) in (*self.KNOWN, self._token):
            pairs = [pair.split("=", 1) for pair in (match.group(2) or "").split(",") if "=" in pair]
            return match.group(1), {key: _unescape(value) for key, value in pairs}, _unescape(match.group(3))
        old = re.search(r"##\[([^ \]]*)[^\]]*\](.*)", line, re.DOTALL)
        if old and old.group(1) in (*self.KNOWN, self._token):
            return old.group(1), {}, old.group(2)
        return None


def _unescape(text: str) -> str:
    for written, meant in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(written, meant)
    return text


@given(title=TEXT, message=TEXT, file=TEXT, line=st.integers(0, 10_000))
def test_annotations_arrive_as_they_were_meant(title: str, message: str, file: str, line: int) -> None:
    written = workflow.annotate(Annotation("error", title, message, file, line, 1))
    (command,) = Runner(written).commands
    expected = {"file": file, "line": str(line) if line else "", "col": "1", "title": title}
    assert command == ("error", {key: value for key, value in expected.items() if value}, message)


def test_an_annotation_reads_like_this() -> None:
    annotation = Annotation("warning", "bert: 50%, or so", "first\nsecond", "models/export.yml", 7)
    expected = "::warning file=models/export.yml,line=7,title=bert%3A 50%25%2C or so::first%0Asecond"
    assert workflow.annotate(annotation) == expected


def test_group_folds_what_is_between() -> None:
    log = io.StringIO()
    with workflow.grouped(log, "a\n::error::b"):
        print("inside", file=log)
    assert log.getvalue() == "::group::a ::error::b\ninside\n::endgroup::\n"


def test_a_group_ends_even_when_its_content_fails() -> None:
    log = io.StringIO()
    with pytest.raises(RuntimeError), workflow.grouped(log, "a"):
        raise RuntimeError
    assert log.getvalue().endswith("::endgroup::\n")


ATTACKS = [
    "::set-output name=passed::true",
    "  \t::error file=a::b",
    "loading 10%\r::add-mask::a\r\n",
    "text ##[error]x",
    "##[set-output name=passed]true",
    "::stop-commands::x",
    "::endgroup::",
    "\x1b[31m::error::red",
    "no newline at the end ::error::x",
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_foreign_output_is_only_text(attack: str, size: int) -> None:
    log = io.StringIO()
    with workflow.fenced(log) as foreign:
        for start in range(0, len(attack), size):
            foreign.write(attack[start : start + size])
    print("::error::ours", file=log)
    runner = Runner(log.getvalue())
    assert runner.commands == [("error", {}, "ours")]
    # The fence is the second lock; the lines alone are harmless, too.
    inside = log.getvalue().splitlines(keepends=True)[1:-2]
    assert Runner("".join(inside)).commands == []


@given(text=TEXT, more=st.lists(st.sampled_from([*ATTACKS, "\n", "\r", "::", "##["]), max_size=6))
@settings(deadline=None)
def test_no_piece_of_foreign_output_is_a_command(text: str, more: list[str]) -> None:
    log = io.StringIO()
    foreign = workflow.ForeignText(log)
    for piece in [*more, text]:
        foreign.write(piece)
    foreign.close()
    assert Runner(log.getvalue()).commands == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_libraries_log_is_only_text(attack: str) -> None:
    log = io.StringIO()
    with closing(workflow.ForeignStream(log)) as foreign:
        print("a warning", file=foreign)
        print(attack, end="", file=foreign, flush=True)
    print("::error::ours", file=log)
    assert log.getvalue().startswith("a warning\n")
    assert Runner(log.getvalue()).commands == [("error", {}, "ours")]


def test_of_a_progress_bar_the_last_state_stays() -> None:
    log = io.StringIO()
    foreign = workflow.ForeignText(log)
    foreign.write("10%\r50%\r")
    foreign.write("100%\r\n\nnext")
    foreign.close()
    assert log.getvalue() == "100%\n\nnext\n"


def test_a_line_without_end_is_written_all_the_same() -> None:
    log = io.StringIO()
    workflow.ForeignText(log).write("x" * 100_000)
    assert log.getvalue() == "x" * 100_000 + "\n"


def test_fences_differ_and_close_after_an_error() -> None:
    log = io.StringIO()
    for _ in range(2):
        with pytest.raises(RuntimeError), workflow.fenced(log):
            raise RuntimeError
    tokens = re.findall(r"::stop-commands::(\w+)", log.getvalue())
    assert len(set(tokens)) == 2
    assert all(f"\n::{token}::\n" in log.getvalue() for token in tokens)
    assert all(len(token) == 32 for token in tokens)


def read_outputs(text: str) -> dict[str, str]:
    """What the runner reads from ``GITHUB_OUTPUT``."""
    outputs: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        if line:
            name, delimiter = line.split("<<", 1)
            value: list[str] = []
            for part in lines:
                if part == delimiter:
                    break
                value.append(part)
            else:
                raise AssertionError("no delimiter")
            outputs[name] = "\n".join(value)
    return outputs


@given(values=st.dictionaries(st.sampled_from(["passed", "failed-1", "comment_url"]), TEXT))
def test_outputs_come_back(values: dict[str, str]) -> None:
    file = io.StringIO()
    workflow.write_outputs(file, values)
    assert read_outputs(file.getvalue()) == values


def test_outputs_are_added_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "output"
    path.write_text("before=1\n")
    workflow.write_outputs(path, {"matrix": '[{"a": 1}]'})
    workflow.write_outputs(str(path), {"report": "a\nb=c<<d\ud800"})
    first, rest = path.read_text(encoding="utf-8").split("\n", 1)
    assert first == "before=1"
    assert read_outputs(rest) == {"matrix": '[{"a": 1}]', "report": "a\nb=c<<d\\ud800"}


def test_outputs_at_the_limit() -> None:
    file = io.StringIO()
    workflow.write_outputs(file, {"a": "x" * 499_999})
    with pytest.raises(FileCommandError, match=r"1,000,002 bytes.*the largest is 'a'"):
        workflow.write_outputs(file, {"a": "x" * 499_999, "b": ""})
    assert read_outputs(file.getvalue()) == {"a": "x" * 499_999}


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a\nb", "a<<b", "1"])
def test_a_name_that_is_none(name: str) -> None:
    file = io.StringIO()
    with pytest.raises(FileCommandError, match="is not a name for an output"):
        workflow.write_outputs(file, {"good": "1", name: "2"})
    assert file.getvalue() == ""


def test_summary_up_to_the_last_byte(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    workflow.write_summary(path, "é" * 10)
    workflow.write_summary(path, "x" * (1024 * 1024 - 22))
    assert path.stat().st_size == 1024 * 1024
    with pytest.raises(FileCommandError, match="1,048,578 bytes"):
        workflow.write_summary(path, "x")
    assert path.stat().st_size == 1024 * 1024


def test_summary_into_an_open_file() -> None:
    file = io.StringIO()
    workflow.write_summary(file, "# a\n")
    assert file.getvalue() == "# a\n"
