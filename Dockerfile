# A server of one run: docker build -t ml4ir-losses . && docker run -v "$PWD/RUN":/model:ro ... (docs/serving.md)
ARG PYTHON=3.12
FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY setup.py pyproject.toml README.md ./
COPY ml4ir_losses ml4ir_losses
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir ".[serve]"

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin server
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 KERAS_HOME=/tmp/keras MPLCONFIGDIR=/tmp/matplotlib
USER 10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=60s --interval=10s --timeout=5s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
# The key is given by the variable ML4IR_LOSSES_API_KEY or as --api-key-file; without one the server refuses to start.
ENTRYPOINT ["ml4ir-losses", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["/model"]
