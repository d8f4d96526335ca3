"""Writes the table of docs/validation.md from ``benchmarks/results/peers.json``.

python -m benchmarks.table
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.peers.results import OPTIMUM, OURS, TRANSFORMERS, Results, Verdict, read

__all__ = ["BEGIN", "END", "PAGE", "section", "table"]

PAGE = Path(__file__).parents[1] / "docs" / "validation.md"
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"

_ORDER = (OURS, TRANSFORMERS, OPTIMUM)
_PACKAGE = {OURS: OURS, TRANSFORMERS: "transformers", OPTIMUM: OPTIMUM}


def table(results: Results) -> str:
    """The summary, and a row for each fault below it."""
    return "\n".join([*_summary(results), "", *_notes(results), "", *_details(results)])


def section(page: str) -> str:
    """What stands between the markers of a page.

    Raises:
        ValueError: The page has no markers.
    """
    return page[page.index(BEGIN) + len(BEGIN) : page.index(END)].strip()


def _summary(results: Results) -> Iterator[str]:
    yield "| validator | faults caught | sound files refused | files it can't judge |"
    yield "|:--|:--|:--|--:|"
    for name in _ORDER:
        broken = [each.verdicts[name] for each in results.files if each.fault]
        sound = [each.verdicts[name] for each in results.files if not each.fault]
        caught, quiet = _refused(broken), sum(said.refused and said.exit == 0 for said in broken)
        told = f"{caught} of {_applicable(broken)}"
        if quiet:
            told += f", on {quiet} of which its command line exits with 0"
        refused = f"{_refused(sound)} of {_applicable(sound)}"
        left = len(results.files) - _applicable(broken) - _applicable(sound)
        yield f"| {name} {results.versions[name][_PACKAGE[name]]} | {told} | {refused} | {left} |"


def _notes(results: Results) -> Iterator[str]:
    """Why some files were not judged, and how alike the eager models are that the files were held against."""
    for name in _ORDER:
        for reason in sorted({said.reason for each in results.files if not (said := each.verdicts[name]).applies}):
            yield f"n/a: {name} {reason}."
    yield ""
    apart = ", ".join(f"{results.eager[name]:.0e} in {name}" for name in _ORDER if name in results.eager)
    yield f"Eager models of the same checkpoints differ from ours by at most {apart}, relative to the largest output."


def _details(results: Results) -> Iterator[str]:
    yield f"<details><summary>Each of the {len(_faults(results))} faults</summary>"
    yield ""
    yield "| fault | planted in | " + " | ".join(_ORDER) + " |"
    yield "|:--|:--|" + ":--|" * len(_ORDER)
    for kind, fault in _faults(results):
        files = [each for each in results.files if (each.kind, each.fault) == (kind, fault)]
        families = ", ".join(each.family for each in files)
        said = " | ".join(_cell(each.verdicts[name] for each in files) for name in _ORDER)
        yield f"| {fault}{' (model)' if kind == 'model' else ''} | {families} | {said} |"
    yield ""
    yield "</details>"


def _faults(results: Results) -> list[tuple[str, str]]:
    return sorted({(each.kind, each.fault) for each in results.files if each.fault})


def _cell(verdicts: Iterable[Verdict]) -> str:
    """What was said of the files of a row, once where it is the same."""
    words = [_word(verdict) for verdict in verdicts]
    return words[0] if len(set(words)) == 1 else ", ".join(words)


def _word(verdict: Verdict) -> str:
    if not verdict.applies:
        return "n/a"
    if verdict.verdict == "passed":
        return "**missed**"
    return "caught (exit 0)" if verdict.exit == 0 else "caught"


def _refused(verdicts: Iterable[Verdict]) -> int:
    return sum(verdict.refused for verdict in verdicts)


def _applicable(verdicts: Iterable[Verdict]) -> int:
    return sum(verdict.applies for verdict in verdicts)


def main() -> None:
    """Write it."""
    page = PAGE.read_text(encoding="utf-8")
    start, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    PAGE.write_text(f"{page[:start]}\n{table(read())}\n{page[end:]}", encoding="utf-8")


if __name__ == "__main__":
    main()
