"""docs/checkpoints.md names every kind of problem that a checkpoint or the Hub can end in."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
KIND = re.compile(r"""(?:ExportError\(\s*|return \(?\s*)"([a-z]+(?:-[a-z]+)+)",""")


def test_every_kind_is_documented() -> None:
    page = (ROOT / "docs" / "checkpoints.md").read_text()
    sources = [
        file for room in ("checkpoint", "checkpoint_files", "hub") for file in (ROOT / "exporter" / room).glob("*.py")
    ]
    kinds = {kind for file in sources for kind in KIND.findall(file.read_text())}
    assert len(kinds) > 40
    assert sorted(kind for kind in kinds if f"`{kind}`" not in page) == []
