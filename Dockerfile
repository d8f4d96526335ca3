# The image of the action. `main` builds it from here; a release names it by digest in action.yml.
#
# BASE_IMAGE: Debian 12 with Python 3.11; the release passes it pinned by digest.
# TORCH_INDEX: where the CPU build of PyTorch comes from (the default index brings gigabytes of CUDA).
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY constraints.txt ./
# torch first and alone, from its own index; everything else then finds it installed.
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --no-compile ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE ./
COPY exporter ./exporter
COPY entrypoint ./entrypoint
RUN /opt/venv/bin/pip install --no-cache-dir --no-compile --constraint constraints.txt . \
 && /opt/venv/bin/pip uninstall --yes pip setuptools \
 # Headers and static libraries serve compilers; there is none in the image.
 && cd /opt/venv/lib/python3*/site-packages \
 && rm -rf torch/include torch/share torch/test torch/lib/*.a onnx/backend/test \
 && find . -type d -name tests -prune -exec rm -rf {} + \
 && find . -name '*.pyi' -delete

FROM ${BASE_IMAGE}
COPY --from=build /opt/venv /opt/venv
ENV PYTHONDONTWRITEBYTECODE=1
# Absolute and isolated: PATH, PYTHONPATH and the rest of a job's environment leak into a container action.
ENTRYPOINT ["/opt/venv/bin/python", "-I", "-m", "entrypoint"]
