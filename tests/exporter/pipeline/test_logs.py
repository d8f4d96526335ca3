"""Foreign text becomes a few plain lines, whatever it holds."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from exporter.pipeline.logs import clean, clean_problem, tail
from exporter.results import Problem

HOSTILE = st.text() | st.lists(
    st.sampled_from(
        ["\x1b[31m", "\x1b]0;t\x07", "\x1b", "\r", "\n", "\x9b", "\u202e", "\u2028", "\ud800", "x", "::a::"]
    )
).map("".join)


@given(HOSTILE)
def test_clean_text_has_no_controls_but_line_feeds(text: str) -> None:
    cleaned = clean(text)
    assert all(ord(character) >= 32 and not 0x7F <= ord(character) < 0xA0 for character in cleaned.replace("\n", ""))
    assert not set("\u202e\u2028\u200b\ufeff") & set(cleaned)
    cleaned.encode("utf-8")
    assert clean(cleaned) == cleaned


@given(HOSTILE, st.integers(min_value=1, max_value=50))
def test_clean_text_is_no_longer_than_asked(text: str, length: int) -> None:
    assert len(clean(text, length)) <= length


def test_words_survive() -> None:
    assert clean("Größe 384 → 768: \x1b[1m模型\x1b[0m\tok 👍") == "Größe 384 → 768: 模型 ok 👍"


@given(st.binary(max_size=5000))
def test_any_bytes_have_a_tail(tmp_path_factory: object, data: bytes) -> None:
    path = Path(tmp_path_factory.mktemp("log")) / "log.txt"  # type: ignore[attr-defined]
    path.write_bytes(data)
    lines = tail(path)
    assert len(lines) <= 20
    assert all("\n" not in line and len(line) <= 440 for line in lines)


def test_a_progress_bar_is_its_last_state(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"start\n  0%|   |\r 50%|#  |\r100%|###|\nend\r\n\n")
    assert tail(tmp_path / "log") == ("start", "100%|###|", "end")


def test_the_tail_starts_where_the_step_did(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("earlier\n" + "".join(f"  line {number}\n" for number in range(30)))
    assert tail(tmp_path / "log", start=8) == tuple(f"  line {number}" for number in range(10, 30))
    assert tail(tmp_path / "none") == ()


def test_underlines_of_tracebacks_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('  File "a.py", line 1\n    f(x)\n    ~^^^\nValueError: ^\n')
    assert tail(tmp_path / "log") == ('  File "a.py", line 1', "    f(x)", "ValueError: ^")


def test_a_huge_log_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        file.truncate(10 << 30)
        file.seek(0, 2)
        file.write(b"\nlast words\n")
    assert tail(tmp_path / "log")[-1] == "last words"


def test_a_problem_is_cleaned_in_every_part() -> None:
    problem = clean_problem(Problem(kind="Odd\x1b kind!", message="a\x07b", hint="c\u202ed", log=("e\rf", "g\nh")))
    assert problem == Problem(kind="oddkind", message="ab", hint="cd", log=("f", "g", "h"))
    assert clean_problem(Problem(kind="\x00", message="")).kind == "worker-exception"
