# syntax=docker/dockerfile:1
# A server of bundles on the CPU, for `docker compose up`; docs/deploy.md says what it needs beside it.

FROM python:3.12-slim AS build
ENV PIP_CONSTRAINT=/source/constraints.txt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY constraints.txt ./
RUN python -m venv /opt/adaptune
# PyTorch comes first, and alone: PyPI's build for Linux carries 3 GB for NVIDIA cards.
RUN /opt/adaptune/bin/python -m pip install --extra-index-url https://download.pytorch.org/whl/cpu torch
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/adaptune/bin/python -m pip install '.[serve]'

FROM python:3.12-slim
RUN groupadd --gid 10001 adaptune \
    && useradd --uid 10001 --gid 10001 --home-dir /cache --no-create-home --shell /usr/sbin/nologin adaptune \
    && install --directory --owner=adaptune --group=adaptune /cache \
    && install --directory /bundles
COPY --from=build /opt/adaptune /opt/adaptune
ENV PATH=/opt/adaptune/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/cache/huggingface \
    HF_HUB_DISABLE_TELEMETRY=1 \
    ADAPTUNE_CACHE=/cache/adaptune
USER 10001:10001
WORKDIR /cache
EXPOSE 8000
VOLUME ["/bundles", "/cache"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
ENTRYPOINT ["adaptune"]
CMD ["serve", "/bundles", "--host", "0.0.0.0", "--port", "8000", "--keys", "/run/secrets/adaptune_keys"]
