"""What of an environment reaches a worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.pipeline.environment import hub_cache, worker_environment

NAMES = st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ_-", min_size=1, max_size=20)
KNOWN = {"PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH"}


@given(st.dictionaries(NAMES, st.just("s3cr3t")))
def test_only_known_names_pass(environment: dict[str, str]) -> None:
    passed = worker_environment(environment, Path("/scratch"), 2)
    leaked = {name for name, value in passed.items() if "s3cr3t" in value and name not in KNOWN}
    assert all(name.startswith("LC_") for name in leaked - {"HF_HUB_CACHE"})


@pytest.mark.parametrize(
    ("environment", "cache"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/a"}, "/a"),
        ({"HF_HOME": "/b"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/huggingface/hub"),
        ({"HOME": "/h"}, "/h/.cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_client_keeps_it(environment: dict[str, str], cache: str) -> None:
    assert hub_cache(environment) == Path(cache)


def test_threads_are_divided() -> None:
    passed = worker_environment({}, Path("/scratch"), 3)
    assert passed["OMP_NUM_THREADS"] == passed["MKL_NUM_THREADS"] == "3"
    # The fork server must stay single-threaded.
    assert passed["OPENBLAS_NUM_THREADS"] == "1"
