# The image of the action. `main` builds it from here; a release names it by digest in action.yml.
#
# BASE_IMAGE: Debian 12 with Python 3.11; the release passes it pinned by digest.
# TORCH_INDEX: where the CPU build of PyTorch comes from (the default index brings gigabytes of CUDA).
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /src
COPY constraints.txt pyproject.toml ./
# torch first and alone, from its own index; everything else then finds it installed. Dependencies come before the
# sources, so that a change of ours does not fetch a gigabyte again.
RUN python3 -m venv /opt/venv \
 && grep '^torch==' constraints.txt > torch.txt \
 && python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
    > dependencies.txt \
 && /opt/venv/bin/pip install --no-cache-dir --no-compile ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} --requirement torch.txt \
 && /opt/venv/bin/pip install --no-cache-dir --no-compile --constraint constraints.txt --requirement dependencies.txt \
 # Headers and static libraries serve compilers; there is none in the image. Other people's tests serve nobody.
 && site="$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
 && rm -rf "${site}"/torch/{include,share,test} "${site}"/torch/lib/*.a "${site}/onnx/backend/test" \
 && find "${site}" -type d -name tests -prune -exec rm -rf {} + \
 && find "${site}" -name '*.pyi' -delete \
 # Every model is a process of its own, and none may write here: without this each would compile all of torch first.
 && /opt/venv/bin/python -m compileall -q -j 0 -x "/torch/testing/_internal/" --invalidation-mode unchecked-hash "${site}"
COPY README.md LICENSE ./
COPY exporter ./exporter
COPY entrypoint ./entrypoint
# Model code runs as `worker` (entrypoint/isolation.py), never as root.
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --constraint constraints.txt . \
 && /opt/venv/bin/pip uninstall --yes pip setuptools \
 && useradd --uid 65530 --user-group --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin worker

FROM ${BASE_IMAGE}
# `only-changed` asks git what a pull request changes. The base's own pip has nothing to do here.
# hadolint ignore=DL3008
RUN apt-get update --quiet --quiet \
 && apt-get install --quiet --quiet --yes --no-install-recommends git \
 && rm -rf /var/lib/apt/lists/* /usr/local/bin/pip* /usr/local/lib/python3*/ensurepip \
 && for tool in pip setuptools wheel; do rm -rf /usr/local/lib/python3*/site-packages/"${tool}"*; done
COPY --from=build /etc/passwd /etc/group /etc/
COPY --from=build /opt/venv /opt/venv
# ONNX Runtime reports model and graph names to its makers unless told not to.
ENV ORT_DISABLE_TELEMETRY=1
# No USER: the runner's mounts belong to root or to the runner's user, so the entry process must be root; it gives files
# back to the workspace's owner. Absolute and isolated (-I): PATH, PYTHONPATH and the rest of a job's environment leak
# into a container action.
ENTRYPOINT ["/opt/venv/bin/python", "-I", "-m", "entrypoint"]
