"""Text that somebody else wrote, and what GitHub would make of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

# What GitHub turns into a link, a picture or a notification when it stands outside code.
ACTIVE = re.compile(
    r"@\w|#\d|(?i:\bgh-\d)|://|(?i:\bwww\.)|:[\w+-]+:|\b[0-9a-f]{7,40}\b|\$",
)
FRAGMENTS = (
    "|", "\\|", "\\", "`", "``", "```", "~~~", "\n", "\r", "\r\n", "\t", " ", "    ", "\n\n", "- ", "1. ", "# ", "> ",
    "=", "---", "***", "**a**", "_a_", "__init__", "~a~", "[a](b)", "![a](https://e.example/a.png)", "<b>",
    "</details>", "</summary>", "</code>", "<!--", "-->", "<script>", "<img src=x onerror=y>", "&amp;", "&#64;",
    "&lt;", "@octo-org/team", "@me", "a@e.example", "#1", "o/r#2", "GH-3", "https://e.example",
    "http://e.example/(a)", "www.e.example", ":tada:", "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef", "1234567", "$x$",
    "$`x`$", "$$", "'", '"', "'quoted name'", "(", ")", ",", ".", ":", "word", "last_hidden_state", "\u202e",
    "\u2066", "\u200b", "\u00ad", "\u034f", "\ufe0f", "\u2028", "\x00", "\x1b[31m", "\x85", "\ud800", "::error::x",
    "::set-output name=a::b", "##[error]x", "##[", "::stop-commands::x", "é", "模型", "😀",
)  # fmt: skip


_PIECE = st.one_of(st.sampled_from(FRAGMENTS), st.text(st.characters(exclude_categories=()), max_size=6))
_PIECES = st.lists(_PIECE, max_size=8)
HOSTILE = st.deferred(lambda: st.one_of(_PIECES.map("".join), _PIECES.map(" ".join), st.sampled_from(FRAGMENTS)))


@pytest.fixture
def hostile() -> SearchStrategy[str]:
    """Texts made of what has hurt others, and of anything at all."""
    return HOSTILE


@dataclass
class Page:
    """What a reader of the rendered Markdown gets: tags, the text inside and outside code, links."""

    tags: list[str] = field(default_factory=list)
    prose: str = ""
    code: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    def count(self, tag: str) -> int:
        return self.tags.count(tag)

    @property
    def active(self) -> list[str]:
        """What GitHub would make alive outside code."""
        return ACTIVE.findall(self.prose)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._in_code = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.page.tags.append(tag)
        self.page.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag == "code":
            self._in_code += 1
            self.page.code.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_code -= tag == "code"

    def handle_comment(self, data: str) -> None:
        self.page.comments.append(data)

    def handle_data(self, data: str) -> None:
        if self._in_code:
            self.page.code[-1] += data
        else:
            self.page.prose += data


@pytest.fixture
def github() -> Callable[[str], Page]:
    """GitHub's own Markdown parser, with raw HTML let through as strictly as it can hurt."""
    return read_page


def read_page(markdown: str) -> Page:
    reader = _Reader()
    reader.feed(cmarkgfm.github_flavored_markdown_to_html(markdown, Options.CMARK_OPT_UNSAFE))
    reader.close()
    return reader.page
