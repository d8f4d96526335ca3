"""Foreign text made harmless: the one door through which it reaches Markdown, HTML or a log.

Foreign is whatever came from a manifest, a model, an exception, a report or an input. Nothing here drops text: what
can't be shown as it is becomes visible (``\\u202e``), what would be taken for markup or a link becomes code.

GitHub does more than Markdown with a comment: it links mentions, issue references, commit ids, addresses and emoji
names, and it does so after HTML entities are decoded. The only place where it leaves text alone is code, hence the
rule of this module: plain words stay words, everything else goes into a code span.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from html import escape as _html_entities
from urllib.parse import quote, urlsplit

__all__ = [
    "cell",
    "code",
    "fence",
    "html_code",
    "html_prose",
    "key",
    "link",
    "log_line",
    "prose",
    "shell",
    "shorten",
    "visible",
]

NAME_LIMIT = 120
PROSE_LIMIT = 500
_URL_LIMIT = 2_000
_KEY_LIMIT = 200

# Default ignorable code points that are no format characters, so that `str.isprintable` says yes to them. Nobody sees
# them, and a comparison by the rules of a culture (the runner's, .NET) skips them.
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]",
)


def _escape_character(character: str) -> str:
    number = ord(character)
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _show_invisible(text: str) -> str:
    if text.isprintable() and not _IGNORABLE.search(text):
        return text
    shown = "".join(char if char.isprintable() else _escape_character(char) for char in text)
    return _IGNORABLE.sub(lambda match: _escape_character(match.group()), shown)


def visible(text: str) -> str:
    """`text` on one line: white space runs become one space, what has no picture of its own becomes an escape.

    That covers control characters, bidirectional overrides, zero-width characters and lone surrogates; the result can
    always be encoded as UTF-8.
    """
    return _show_invisible(re.sub(r"[ \t\r\n]+", " ", text).strip(" "))


def shorten(text: str, limit: int) -> str:
    """`text` with at most `limit` characters, the last one ``…`` where something is missing."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _shown(text: str, limit: int) -> str:
    """`text` visible and short. What is far beyond the limit is not even looked at: there may be megabytes of it."""
    start = text[: 4 * limit]
    return shorten(visible(start) + ("…" if len(start) < len(text) else ""), limit)


def _longest_run(text: str, character: str) -> int:
    return max((len(run) for run in re.findall(re.escape(character) + "+", text)), default=0)


def code(text: str, limit: int = NAME_LIMIT) -> str:
    """A Markdown code span. In a table the cell still has to go through `cell`."""
    shown = _shown(text, limit)
    if not shown:
        return "(empty)"
    ticks = "`" * (_longest_run(shown, "`") + 1)
    if "`" in (shown[0], shown[-1]):
        shown = f" {shown} "
    return f"{ticks}{shown}{ticks}"


def html_code(text: str, limit: int = NAME_LIMIT) -> str:
    """Code inside an HTML block such as ``<summary>``, where Markdown is not read."""
    shown = _shown(text, limit)
    return f"<code>{_html_entities(shown)}</code>" if shown else "(empty)"


# What a word may be to stay outside code: letters and digits of any script, and punctuation that means nothing to
# GitHub inside a word. No `:` (emoji names, schemes), `@`, `#`, `_`, `*`, `~`, `$`, brackets, `&`, `|`, `\`.
_PLAIN = re.compile(r"[^\W_](?:[^\W_]|[.,;!?'\"()/+%=×±−–—…-])*|[-+×±−–—→]?[0-9][0-9.,e%×x+-]*|[×±−–—…→=+-]")
# Plain by their characters, yet linked by GitHub: web addresses, commit ids, `GH-1`.
_LINKED = re.compile(r"(?i)www\.|\b[0-9a-f]{7,40}\b|\bgh-\d")
_QUOTED = re.compile(r"(?<![^\s(])(?:'([^']{1,120})'|\"([^\"]{1,120})\"|`([^`]{1,120})`)(?![^\s.,;:!?)])")
_AFTER = r"[.,;:!?)]*"
_WORD = re.compile(r"(['\"(]*)(.*?)(['\".,;:!?)]*)", re.DOTALL)
_LIST_NUMBER = re.compile(r"[0-9]{1,9}[.)]")


@dataclass
class _Piece:
    """A word or a quoted name, with the punctuation around it; `core` is shown as code when `coded`."""

    before: str
    core: str
    after: str
    coded: bool
    quoted: bool = False

    def written(self, as_code: Callable[[str], str]) -> str:
        return self.before + (as_code(self.core) if self.coded else self.core) + self.after


def _piece(word: str) -> _Piece:
    match = _WORD.fullmatch(word)
    assert match is not None, "every group may be empty, so it matches anything"
    before, core, after = match.groups()
    if "(" in core and after.startswith(")"):  # a call: the parenthesis is its own
        core, after = core + ")", after[1:]
    plain = not core or (_PLAIN.fullmatch(core) and not _LINKED.search(core))
    return _Piece(before, core, after, coded=not plain)


def _pieces(text: str) -> list[_Piece]:
    """`text` in words and quoted names; the quotes are dropped, as code says the same."""
    found: list[_Piece] = []
    end = 0
    for match in _QUOTED.finditer(text):
        found += map(_piece, text[end : match.start()].split())
        opening = found.pop().before if text[: match.start()].endswith(" (") or text[: match.start()] == "(" else ""
        after = re.compile(_AFTER).match(text, match.end())
        assert after is not None, "it may be empty, so it matches anything"
        name = next(group for group in match.groups() if group is not None)
        found.append(_Piece(opening, name, after.group(), coded=True, quoted=True))
        end = after.end()
    return found + [_piece(word) for word in text[end:].split()]


def _joined(pieces: Iterable[_Piece]) -> list[_Piece]:
    """Neighbours that are code become one piece of code: easier to read than one span a word."""
    joined: list[_Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if last and last.coded and piece.coded and not (last.after or piece.before or last.quoted or piece.quoted):
            last.core, last.after = f"{last.core} {piece.core}", piece.after
        else:
            joined.append(piece)
    return joined


def _sentence(text: str, limit: int, as_code: Callable[[str], str]) -> str:
    pieces = _pieces(_shown(text, limit))
    if pieces and not pieces[0].coded:
        first = pieces[0].written(as_code)
        # At the start of a line these would open a list, a rule or a heading.
        if _LIST_NUMBER.fullmatch(first) or not (first[0].isalnum() or first[0] in "'\"(…"):
            pieces[0] = _Piece("", first, "", coded=True)
    return " ".join(piece.written(as_code) for piece in _joined(pieces))


def prose(text: str, limit: int = PROSE_LIMIT) -> str:
    """A sentence in Markdown: plain words stay, quoted names and whatever could mean something become code spans."""
    return _sentence(text, limit, lambda word: code(word, limit))


def html_prose(text: str, limit: int = PROSE_LIMIT) -> str:
    """`prose` for an HTML block such as ``<summary>``."""
    return _sentence(text, limit, lambda word: html_code(word, limit))


def cell(inline: str) -> str:
    """Inline Markdown as a table cell: a row is split at every bare ``|``, even inside a code span."""
    return inline.replace("|", "\\|")


def fence(lines: Iterable[str], info: str = "text", width: int = 400) -> str:
    """A fenced block; every line is at most `width` characters, tabs stay, and no line can close the fence."""
    shown = [shorten("\t".join(map(_show_invisible, line[: width + 1].split("\t"))), width) for line in _split(lines)]
    ticks = "`" * max(3, max((_longest_run(line, "`") for line in shown), default=0) + 1)
    return "\n".join([f"{ticks}{info}", *shown, ticks])


def _split(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        yield from re.split(r"\r\n|\r|\n", line)


def link(text: str, url: str) -> str:
    """A Markdown link with our own `text`; only `text` when `url` is not a plain http(s) address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return text
    if parts.scheme not in ("http", "https") or not parts.netloc or len(url) > _URL_LIMIT or visible(url) != url:
        return text
    return f"[{text}]({quote(url, safe=':/?#@!&+,=%~-._')})"


def key(text: str) -> str:
    """`text` as one word inside an HTML comment: percent-encoded, different for different texts, never long."""
    encoded = quote(text, safe="/._-:", errors="surrogatepass").replace("~", "%7E")
    if len(encoded) <= _KEY_LIMIT:
        return encoded
    # A digest keeps long keys apart; no short key has a `~`, so that none looks like this.
    return encoded[:100] + "~" + sha256(encoded.encode()).hexdigest()[:32]


def shell(*arguments: str) -> str:
    """A command line to paste into a POSIX shell."""
    return " ".join(shlex.quote(argument) for argument in arguments)


def log_line(text: str) -> str:
    """One line of a log that the runner takes for nothing but text.

    The runner looks for ``::command::`` at the start of a line and for ``##[command]`` anywhere in it, on stdout and
    on stderr. Tabs and spaces stay, so that tables keep their shape.
    """
    shown = "\t".join(map(_show_invisible, re.sub(r"\r\n|\r|\n", " ", text).split("\t")))
    shown = shown.replace("##[", "## [")
    body = shown.lstrip("\t ")
    return shown[: len(shown) - len(body)] + ": :" + body[2:] if body.startswith("::") else shown
