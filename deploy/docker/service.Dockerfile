# One image per service, with that service and the libraries it declares, nothing else:
#   docker build -f deploy/docker/service.Dockerfile --build-arg SERVICE=monitor -t understudy-monitor .
FROM python:3.11-slim AS build
ARG SERVICE
RUN pip install --no-cache-dir "uv>=0.11,<0.14"
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PROJECT_ENVIRONMENT=/app
WORKDIR /src
COPY pyproject.toml ./
COPY libs libs
COPY services services
RUN uv sync --no-dev --no-editable --package "understudy-${SERVICE}"

FROM python:3.11-slim
ARG SERVICE
RUN useradd --system --uid 10001 --home-dir /data understudy \
    && install -d -o understudy -g understudy /data
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1
# The module is named after the service, with underscores.
RUN printf '#!/bin/sh\nexec python -m understudy_%s "$@"\n' "$(echo "$SERVICE" | tr - _)" > /usr/local/bin/service \
    && chmod +x /usr/local/bin/service
USER understudy
WORKDIR /data
VOLUME /data
ENTRYPOINT ["service"]
