"""From a folder to an eager model and its preprocessor, safely.

No code from the folder is run and nothing is unpickled, unless the caller allows remote code at a fixed commit. What
the files alone say is in `exporter.checkpoint_files`, which imports neither torch nor transformers.
"""

from exporter.checkpoint.loader import Checkpoint, load, refuse_random_outputs

__all__ = ["Checkpoint", "load", "refuse_random_outputs"]
