"""The table of inputs, outputs, permissions and exit codes in the documentation, made from ``action.yml``.

``python tests/entrypoint/action_table.py`` writes it between the markers of the files that have them.
"""

from __future__ import annotations

from pathlib import Path

import yaml

__all__ = ["ACTION", "BEGIN", "DOCUMENTS", "END", "between_markers", "table"]

ROOT = Path(__file__).parents[2]
ACTION = ROOT / "action.yml"
DOCUMENTS = [ROOT / "docs/action.md", ROOT / "README.md"]
BEGIN, END = "<!-- action.yml: begin -->\n", "<!-- action.yml: end -->\n"

PERMISSIONS = [
    ("`contents: read`", "Check the repository out. All that exporting needs."),
    ("`pull-requests: write`", "Write the comment. Without it the report is in the job summary."),
    (
        "`actions: read`",
        "Find the last report of the default branch, to compare with; download artifacts of other runs.",
    ),
    ("`contents: write`", "Publish to a release, in a job that runs on tags only."),
]

EXIT_CODES = [
    ("0", "All is well, by the measure of `fail-on`."),
    ("1", "A model failed."),
    (
        "2",
        "The manifest, an input or the checkout is wrong, or the disk is too small; the message says what to change.",
    ),
    ("3", "GitHub refused what the inputs insist on: the comment or the release."),
    ("4", "A bug of ours."),
    ("130, 143", "The step was cancelled; what was done until then is in the report."),
]


def _rows(*rows: tuple[str, ...]) -> str:
    head, *body = rows
    lines = [head, tuple("---" for _ in head), *body]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def table() -> str:
    """The Markdown that belongs between the markers."""
    action = yaml.safe_load(ACTION.read_text())
    inputs = [
        (f"`{name}`", f"`{facts['default']}`" if facts["default"] else "", facts["description"])
        for name, facts in action["inputs"].items()
    ]
    outputs = [(f"`{name}`", facts["description"]) for name, facts in action["outputs"].items()]
    return "\n".join(
        [
            _rows(("Input", "Default", "What it does"), *inputs),
            _rows(("Output", "What it holds"), *outputs),
            _rows(("Permission", "What it is for"), *PERMISSIONS),
            _rows(("Exit code", "What it means"), *EXIT_CODES),
        ]
    )


def between_markers(document: str) -> str | None:
    """What a document has between the markers; None when it has none."""
    if BEGIN not in document:
        return None
    return document.partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    for path in DOCUMENTS:
        text = path.read_text() if path.exists() else ""
        if between_markers(text) is not None:
            before, _, rest = text.partition(BEGIN)
            path.write_text(before + BEGIN + table() + END + rest.partition(END)[2])
