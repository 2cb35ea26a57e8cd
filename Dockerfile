# The server as one image: one process, one port, one volume. `make image` builds it; see docs/getting-started/server.md.
# BASE must bring Python 3.11 or newer with venv, on Debian or the like.
ARG BASE=python:3.13-slim

FROM ${BASE} AS packages
WORKDIR /app
COPY requirements/server.txt requirements/server.txt
RUN python3 -m venv /app/.venv \
 && /app/.venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-input \
    --require-hashes --only-binary :all: -r requirements/server.txt \
 && /app/.venv/bin/python -m pip uninstall --quiet --yes pip setuptools

FROM ${BASE}
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="restic-manager" \
      org.opencontainers.image.description="One self-hosted control plane for restic backups on a fleet of hosts" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --system --gid 10001 restic-manager \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin restic-manager \
 && install -d -o restic-manager -g restic-manager -m 0700 /data
WORKDIR /app
COPY --from=packages /app/.venv .venv
COPY app.py gunicorn.conf.py schema.sql pyproject.toml LICENSE ./
COPY rm rm
COPY templates templates
COPY static static
# install.sh, the guard and the units, which /install.sh carries.
COPY agent/guard agent/guard
COPY agent/packaging agent/packaging
# The signed release of this version: imported at each start, and made current by a person.
COPY dist/release dist/release
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RM_LISTEN=0.0.0.0:8080 \
    RM_DATA_DIR=/data \
    RM_RELEASE_DIR=/app/dist/release
USER restic-manager
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
# gunicorn is the first process: it has no child but its worker, and ends it.
CMD ["gunicorn", "-c", "gunicorn.conf.py", "app:app"]
