# The image: Python, the locked dependencies, the service; nothing that builds or installs.
#
# BASE is any Debian-based image with the same Python in both stages. Pin it by digest in your build:
#   docker build --build-arg BASE=python:3.13-slim-trixie@sha256:… .
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
    && /opt/proxy/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/proxy/lib

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="gigya-credential-proxy" \
      org.opencontainers.image.description="Provider tokens out of Gigya for the workloads that may have them" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# What could install or build goes; the service needs Python and its own tree.
RUN rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip \
       /usr/local/bin/pip* /usr/lib/python3*/ensurepip /root/.cache
COPY --from=build /opt/proxy /opt/proxy
ENV PATH=/opt/proxy/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that Kubernetes can see that it is not root; any other works as well.
USER 10001:10001
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
ENTRYPOINT ["gigya-credential-proxy"]
CMD ["serve", "--config", "/etc/gigya-credential-proxy/config.yaml"]
