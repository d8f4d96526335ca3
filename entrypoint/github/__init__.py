"""GitHub, and the only place that imports PyGithub.

`client.connect` gives a connection; `pulls`, `comments`, `artifacts` and `releases` hold the verbs. They take and give
frozen data, raise `exporter.results.ExportError` with a sentence for a person, and leave rendering to others.
"""
