"""From a Hub id to a folder: the revision resolved to a commit, and only the files that are needed.

This is the one step that uses the network and the token. It imports huggingface_hub, never torch or transformers.
``HF_TOKEN``, ``HF_ENDPOINT``, ``HF_HOME``, ``HF_HUB_OFFLINE`` and the proxies' variables are honoured by that library.
"""

from exporter.hub.fetch import Fetched, HubAccess, Listing, RemoteFile, fetch, look_up

__all__ = ["Fetched", "HubAccess", "Listing", "RemoteFile", "fetch", "look_up"]
