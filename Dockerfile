# The control plane: what runs, when, for whom. Pixels are computed on Modal (gpu_ops/modal_app.py), not here.

FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md dagster.yaml workspace.yaml ./
COPY captionacc_dagster captionacc_dagster
COPY gpu_ops gpu_ops
RUN python -m venv /opt/captionacc
RUN /opt/captionacc/bin/pip install --no-cache-dir '.[cloud]'

FROM python:3.11-slim
COPY --from=build /opt/captionacc /opt/captionacc
RUN mkdir /data && chown 10001:10001 /data
USER 10001:10001
ENV PATH=/opt/captionacc/bin:$PATH
ENV HOME=/data
ENV CAPTIONACC_HOME=/data
ENV CAPTIONACC_PROFILE=cloud
ENV CAPTIONACC_PORT=3000
WORKDIR /data
EXPOSE 3000
HEALTHCHECK --interval=60s --timeout=30s --start-period=60s CMD ["captionacc", "health"]
# The code server, the daemon and the web server; SIGTERM ends them within ten seconds.
CMD ["captionacc", "serve", "--host", "0.0.0.0"]
