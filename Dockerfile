# The environment of the pipeline; the checkout is mounted at /checkout (docs/cluster.md).
FROM python:3.11-slim-bookworm
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008 # Debian keeps one version of each
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        g++ git libgl1 libglib2.0-0 libopencv-dev libturbojpeg0-dev make pkg-config \
    && rm -rf /var/lib/apt/lists/*
COPY requirements.lock /tmp/requirements.lock
RUN pip install --no-cache-dir -r /tmp/requirements.lock
ENV PYTHONPATH=/checkout
WORKDIR /checkout
