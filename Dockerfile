# The image: Python, the locked dependencies, the service, and nothing else: no shell, no package
# manager, no pip, no compiler.
#
# BASE gives Python and its libraries; any Debian with python3 and its venv will do. Pin it by digest:
#   docker buildx imagetools inspect python:3.13-slim-trixie --format '{{.Manifest.Digest}}'
#   docker build --build-arg BASE=python:3.13-slim-trixie@sha256:... .
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY deploy/requirements.lock deploy/requirements-build.lock deploy/
RUN python3 -m venv --without-pip /opt/proxy \
    && python3 -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --only-binary=:all: \
       --requirement deploy/requirements-build.lock \
    && /opt/build/bin/pip --python /opt/proxy/bin/python install --require-hashes \
       --only-binary=:all: --requirement deploy/requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY service service
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/build/bin/pip --python /opt/proxy/bin/python install --no-deps --no-index /wheels/*.whl \
    && rm -f /opt/proxy/bin/[Aa]ctivate*
COPY deploy/image/root.py deploy/image/root.py
# Compiled here, because the root file system is read-only where it runs.
RUN python3 deploy/image/root.py /opt/proxy /root-of-image \
    && python3 -m compileall -q -s /root-of-image --invalidation-mode unchecked-hash /root-of-image

FROM scratch
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="gigya-credential-proxy" \
      org.opencontainers.image.description="Provider tokens out of Gigya for the workloads that may have them" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=build /root-of-image /
ENV PATH=/opt/proxy/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONUTF8=1
# A number, so that Kubernetes can see that it is not root; any other works as well.
USER 10001:10001
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# Process 1 is the service itself, so SIGTERM reaches it.
ENTRYPOINT ["/opt/proxy/bin/gigya-credential-proxy"]
CMD ["serve", "--config", "/etc/gigya-credential-proxy/config.yaml"]
