"""``python -m entrypoint``: what the image runs. Without arguments it is a step of a workflow, else a command line."""

import os
import sys

if __name__ == "__main__":
    if len(sys.argv) == 1 and os.environ.get("GITHUB_ACTIONS") == "true":
        from entrypoint.container import main
    else:
        from entrypoint.cli import main
    main()
