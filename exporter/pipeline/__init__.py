"""The driver: a plan becomes worker processes, and what they answer becomes a report and files in their place.

The parent process never imports torch or transformers. Names are imported from the modules themselves
(`exporter.pipeline.run`, `.plan`, `.events`), so that a worker that needs one of them loads only that one.
"""

__all__: list[str] = []
