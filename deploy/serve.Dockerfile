# syntax=docker/dockerfile:1
# A server of one saved model, which lies in the image: running it needs neither a store nor a sweep.
#
#   python -m sentiment.export models:/sentiment@champion --to folder --output deploy/model
#   docker build --file deploy/serve.Dockerfile --tag REGISTRY/sentiment-sweeps-serve:0.1.0 .
#   docker run --publish 127.0.0.1:8000:8000 --cap-drop ALL REGISTRY/sentiment-sweeps-serve:0.1.0
#
# in the root of the checkout.
FROM python:3.11-slim-bookworm
# A compiler, by which the recurrent layers are built at the first start for the CPU that is there.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 server
WORKDIR /build
COPY constraints.txt ./
# What answering requests needs of the project's dependencies: neither Ray nor Optuna.
# --build-arg PIP_EXTRA_INDEX_URL=URL, which pip reads, names an index that has PyTorch without CUDA.
ARG PIP_EXTRA_INDEX_URL
RUN pip install --no-cache-dir --constraint constraints.txt \
    filelock mlflow numpy pandas platformdirs prometheus-client psutil pydantic pyyaml safetensors \
    scipy spacy torch
COPY pyproject.toml README.md LICENSE ./
COPY sentiment sentiment
COPY sweeps sweeps
RUN pip install --no-cache-dir --no-deps . && rm -rf /build
COPY --chown=server:server deploy/model /model
USER server
WORKDIR /home/server
ENV PYTHONUNBUFFERED=1 MLFLOW_DISABLE_TELEMETRY=true
EXPOSE 8000
HEALTHCHECK --start-period=90s --interval=30s --timeout=5s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
# On all addresses of the container, or a published port would not reach it; who gets to that port
# is for --publish to say.
CMD ["python", "-m", "sweeps.serve", "--model", "/model", "--host", "0.0.0.0", "--port", "8000"]
