"""``python -m entrypoint``: what the image runs."""

from entrypoint.cli import main

if __name__ == "__main__":
    main()
