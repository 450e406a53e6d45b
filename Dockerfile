# syntax=docker/dockerfile:1
# One image for every stage: `docker run sluice run mapper`. The embedded servers are not in it.
#
#   docker build -t sluice:dev .
#
# A pipeline is a folder outside of it: mount one at /pipeline, or build FROM this image and copy one there.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/sluice && python -m venv /opt/build
COPY requirements/image.txt requirements/build.txt requirements/
# Locked and hashed; before the sources are copied, so that a change of them does not fetch all of it again.
RUN /opt/sluice/bin/pip install --require-hashes -r requirements/image.txt \
    && /opt/build/bin/pip install --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY libs libs
COPY services services
RUN /opt/build/bin/hatchling build -t wheel -d /wheels \
    && /opt/sluice/bin/pip install --no-deps /wheels/*.whl \
    && /opt/sluice/bin/python -m compileall -q /opt/sluice/lib

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin sluice \
    && install -d -o sluice -g sluice /state
COPY --from=build /opt/sluice /opt/sluice
COPY schemas /usr/share/sluice/schemas
ENV PATH=/opt/sluice/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SLUICE_SCHEMAS_DIR=/usr/share/sluice/schemas \
    SLUICE_STATE_DIR=/state \
    SLUICE_PIPELINE=/pipeline/pipeline.yaml \
    SLUICE_TELEMETRY__HOST=0.0.0.0 \
    SLUICE_TELEMETRY__PORT=9100
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /state
VOLUME /state
EXPOSE 9100
STOPSIGNAL SIGTERM
ENTRYPOINT ["sluice"]
CMD ["--help"]
