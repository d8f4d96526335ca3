"""Pictures of golden comments, as a browser shows them on GitHub.

    python scripts/pictures.py

writes ``docs/assets/comment-<name>-<scheme>.png``. It needs chromium, npm (for ``github-markdown-css``) and the
package cmarkgfm, which is GitHub's own Markdown parser; fonts with emoji, too (Debian: ``fonts-noto-color-emoji``).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import cmarkgfm
from cmarkgfm.cmark import Options

ROOT = Path(__file__).resolve().parents[1]
PICTURES = (("failed", "light"), ("failed", "dark"), ("mixed-40", "light"))
CSS_VERSION = "5.9.0"
WIDTH = 1012  # what a comment has on a wide screen

PAGE = """<!doctype html>
<html data-theme="{scheme}"><head><meta charset="utf-8"><style>{css}</style><style>
body {{ margin: 0; padding: 16px; background: {background}; }}
.markdown-body {{ border: 1px solid {line}; border-radius: 6px; padding: 16px; font-size: 14px; }}
</style></head><body><article class="markdown-body">{body}</article>
<script>document.documentElement.dataset.height = Math.ceil(document.body.getBoundingClientRect().height)</script>
</body></html>
"""
SCHEMES = {"light": ("#ffffff", "#d1d9e0"), "dark": ("#0d1117", "#3d444d")}


def stylesheet(scheme: str, folder: Path) -> str:
    """GitHub's style for one colour scheme, from npm."""
    package = folder / "node_modules" / "github-markdown-css"
    if not package.exists():
        npm = shutil.which("npm") or "npm"
        name = f"github-markdown-css@{CSS_VERSION}"
        subprocess.run([npm, "install", "--silent", "--prefix", str(folder), name], check=True)  # noqa: S603 - ours alone
    return (package / f"github-markdown-{scheme}.css").read_text(encoding="utf-8")


def browse(page: Path, *arguments: str) -> str:
    """Open a page without a window and return what the browser prints."""
    chromium = shutil.which("chromium") or "chromium"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1.5"]
    command = [chromium, *flags, *arguments, page.as_uri()]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)  # noqa: S603 - ours alone
    return done.stdout


def picture(name: str, scheme: str, folder: Path) -> Path:
    """Render one golden comment; the picture is as high as the comment."""
    markdown = (ROOT / "tests" / "golden" / f"{name}.md").read_text(encoding="utf-8")
    background, line = SCHEMES[scheme]
    body = cmarkgfm.github_flavored_markdown_to_html(markdown, Options.CMARK_OPT_UNSAFE)
    page = folder / f"{name}-{scheme}.html"
    css = stylesheet(scheme, folder)
    text = PAGE.format(scheme=scheme, css=css, background=background, line=line, body=body)
    page.write_text(text, encoding="utf-8")
    measured = re.search(r'data-height="([0-9]+)"', browse(page, f"--window-size={WIDTH},800", "--dump-dom"))
    if measured is None:
        raise SystemExit(f"{page}: the browser did not measure the page")
    written = ROOT / "docs" / "assets" / f"comment-{name}-{scheme}.png"
    written.parent.mkdir(parents=True, exist_ok=True)
    browse(page, f"--window-size={WIDTH},{measured.group(1)}", f"--screenshot={written}")
    return written


def main() -> None:
    """Write all pictures."""
    with tempfile.TemporaryDirectory() as folder:
        for name, scheme in PICTURES:
            print(picture(name, scheme, Path(folder)).relative_to(ROOT))


if __name__ == "__main__":
    main()
