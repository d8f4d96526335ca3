"""Cases -> runs -> comparison -> verdict: whether a file computes what the eager model computes."""

from exporter.validation.judge import validate_artifact
from exporter.validation.subject import Artifact, Asked, Settings, Subject

__all__ = ["Artifact", "Asked", "Settings", "Subject", "validate_artifact"]
