"""``python -m entrypoint``: what the image runs. Without arguments it is a step of a workflow, else a command line."""

import os
import signal
import sys

if __name__ == "__main__":
    if len(sys.argv) == 1 and os.environ.get("GITHUB_ACTIONS") == "true":
        # The first process of a container ignores what it doesn't handle, and the imports below take a while.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os._exit(128 + number))
        from entrypoint.container import main
    else:
        from entrypoint.cli import main
    main()
