"""Foreign text against GitHub's own Markdown parser and against the runner's rules for commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from entrypoint.render import escape

Github = Callable[[str], Any]

# The fixtures hold no state: a strategy, and a function.
steady = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

PLAIN = {"p"}


@given(data=st.data())
@steady
def test_visible_is_one_line_that_can_be_written(data: st.DataObject, hostile: SearchStrategy[str]) -> None:
    shown = escape.visible(data.draw(hostile))
    assert shown.isprintable()
    shown.encode()
    assert escape.visible(shown) == shown


@given(data=st.data())
@steady
def test_code_is_one_span_with_the_text(data: st.DataObject, hostile: SearchStrategy[str], github: Github) -> None:
    text = data.draw(hostile)
    page = github(f"before {escape.code(text, 10_000)} after\n")
    shown = escape.visible(text)
    if not shown:
        assert page.prose == "before (empty) after\n"
        return
    assert page.code == [shown]
    assert page.tags == ["p", "code"]
    assert page.prose == "before  after\n"


@given(data=st.data())
@steady
def test_a_cell_stays_a_cell(data: st.DataObject, hostile: SearchStrategy[str], github: Github) -> None:
    texts = [data.draw(hostile) for _ in range(3)]
    cells = [escape.code(texts[0]), escape.prose(texts[1]), f"{escape.code(texts[2])} 1"]
    rows = ["| a | b | c |", "|--|--|--|", "| " + " | ".join(map(escape.cell, cells)) + " |", "| x | y | z |"]
    page = github("\n".join(rows) + "\n")
    assert page.count("td") == 6
    assert page.count("tr") == 3
    assert set(page.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert page.active == []
    assert page.links == []
    if escape.visible(texts[0]):
        assert page.code[0] == escape.shorten(escape.visible(texts[0]), escape.NAME_LIMIT)


@pytest.mark.parametrize("before", ["", "- ", "Words before: "])
@given(data=st.data())
@steady
def test_prose_has_no_structure_and_no_links(
    before: str, data: st.DataObject, hostile: SearchStrategy[str], github: Github
) -> None:
    page = github(before + escape.prose(data.draw(hostile), 10_000) + "\n")
    assert set(page.tags) <= {"p", "code", "ul", "li"}
    assert page.count("li") == page.count("ul") == (before == "- ")
    assert page.active == []
    assert page.links == page.comments == []


@pytest.mark.parametrize(
    "word",
    ["@octo-org/team", "a@e.example", "#1", "o/r#2", "GH-3", "www.e.example", "https://e.example", ":tada:", "$x$"],
)
@pytest.mark.parametrize("around", ["{}", "({}),", "'{}'", "a {} b", "a/{}", "{}b"])
def test_what_github_makes_alive_is_code(word: str, around: str, github: Github) -> None:
    page = github(f"{escape.prose(around.format(word))}\n")
    assert page.active == []
    assert page.links == []
    assert word.strip(":") in "".join(page.code)


@given(data=st.data())
@steady
def test_summary_line_is_only_that(data: st.DataObject, hostile: SearchStrategy[str], github: Github) -> None:
    name, said = data.draw(hostile), data.draw(hostile)
    line = f"<details><summary><b>{escape.html_code(name)}</b>: {escape.html_prose(said)}</summary>"
    page = github(f"{line}\n\n# inside\n\n</details>\n\n# after\n")
    assert "\n" not in line
    assert page.tags[:3] == ["details", "summary", "b"]
    assert set(page.tags) <= {"details", "summary", "b", "code", "h1"}
    assert page.count("h1") == 2
    assert page.active == []


@given(data=st.data())
@steady
def test_fence_holds_everything(data: st.DataObject, hostile: SearchStrategy[str], github: Github) -> None:
    lines = [data.draw(hostile) for _ in range(3)]
    page = github(f"before\n\n{escape.fence(lines, width=10_000)}\n\nafter\n")
    assert page.tags == ["p", "pre", "code", "p"]
    assert page.prose.split() == ["before", "after"]
    page.code[0].encode()


@pytest.mark.parametrize("line", ["```", "````` ", "~~~"])
def test_no_line_closes_a_fence(line: str, github: Github) -> None:
    assert github(escape.fence(["a", line, "b"])).code == [f"a\n{line}\nb\n"]


@given(data=st.data())
@steady
def test_key_stays_in_its_comment(data: st.DataObject, hostile: SearchStrategy[str], github: Github) -> None:
    first, second = data.draw(hostile), data.draw(hostile)
    page = github(f"<!-- mark key={escape.key(first)} v=1 -->\ntext\n")
    assert page.comments == [f" mark key={escape.key(first)} v=1 "]
    assert len(escape.key(first * 100)) <= 200
    assert (escape.key(first) == escape.key(second)) == (first == second)


def test_long_keys_stay_apart() -> None:
    assert escape.key("a" * 500) != escape.key("a" * 501)
    assert escape.key(escape.key("a" * 500)) != escape.key("a" * 500)


@given(data=st.data())
@steady
def test_link_leads_where_it_says_or_nowhere(data: st.DataObject, hostile: SearchStrategy[str], github: Github) -> None:
    scheme = data.draw(st.sampled_from(["https://e.example/", "http://", "javascript:", "", "data:text/html,"]))
    page = github(escape.link("here", scheme + data.draw(hostile)) + "\n")
    assert page.prose == "here\n"
    assert page.tags in (["p"], ["p", "a"])
    assert all(url.startswith(("http://", "https://")) for url in page.links)


@pytest.mark.parametrize("url", ["https://e.example/\ud800", "https://e.example/\x00", "https://[", "//e.example", ""])
def test_what_is_no_address_is_no_link(url: str) -> None:
    assert escape.link("run", url) == "run"


def test_a_run_url_is_linked_as_it_is() -> None:
    url = "https://github.com/o/r/actions/runs/1?pr=2&check_suite_focus=true#artifacts"
    assert escape.link("run", url) == f"[run]({url})"


# What the runner does with a line: `TryParseV2`, `TryParse` in its ActionCommand.cs. Its string search is that of a
# culture, which skips what nobody sees.
_SKIPPED = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)


def is_command(line: str) -> bool:
    seen = _SKIPPED.sub("", line)
    return (seen.strip().startswith("::") and "::" in seen.strip()[2:]) or "##[" in seen


@given(data=st.data())
@steady
def test_no_log_line_is_a_command(data: st.DataObject, hostile: SearchStrategy[str]) -> None:
    line = escape.log_line(data.draw(hostile))
    assert re.split(r"[\r\n]", line) == [line]
    assert not is_command(line)
    line.encode()


@pytest.mark.parametrize(
    "line", ["::error::x", " \t::add-mask::x", "a ##[group]x", "#\u200b#[error]", "\u00ad::x::", "#\u034f#[error]"]
)
def test_the_runner_would_have_seen_a_command(line: str) -> None:
    assert is_command(line)
    assert not is_command(escape.log_line(line))


@given(data=st.data())
@steady
def test_shell_words_come_back(data: st.DataObject, hostile: SearchStrategy[str]) -> None:
    words = data.draw(st.lists(hostile, max_size=4))
    assert shlex.split(escape.shell(*words)) == words


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("'models/a_b.bin' is an LFS pointer, no weights.", "`models/a_b.bin` is an LFS pointer, no weights."),
        ("did you mean 'masked-lm' (or \"ctc\")?", "did you mean `masked-lm` (or `ctc`)?"),
        ("the output last_hidden_state, and logits", "the output `last_hidden_state`, and logits"),
        ("write `task:` in the manifest", "write `task:` in the manifest"),
        ("it can't be the models' fault", "it can't be the models' fault"),
        ("call jit.trace(my_model) first", "call `jit.trace(my_model)` first"),
        ("see https://e.example/a_b for more", "see `https://e.example/a_b` for more"),
        ("2.4e-06 > 1e-06 on 3 x 11", "2.4e-06 `>` 1e-06 on 3 x 11"),
        ("1. no list", "`1.` no list"),
        ("- no list", "`-` no list"),
        ("Größe 12 MB — 模型 ok", "Größe 12 MB — 模型 ok"),
    ],
)  # fmt: skip
def test_sentences_stay_readable(text: str, written: str) -> None:
    assert escape.prose(text) == written


def test_shortening_shows_that_something_is_missing() -> None:
    assert escape.prose("a " * 400, 20) == "a a a a a a a a a a…"
    assert escape.code("x" * 200) == "`" + "x" * 119 + "…`"
