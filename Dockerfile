# The gateway's image, in two stages. `build` makes /app: a virtual environment with the locked packages and the
# gateway. The image itself is the plain Python base with that folder, and a user without any rights who writes to
# /data only. What is in it, and its figures: `make image-test`.
#
#   docker build -t photogpt-webhooks:0.1.0 .
#
# The API listens on loopback unless GATEWAY_HOST says otherwise: reachable for the other containers of its Pod, and
# for nobody else. deploy/ has an example of both.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
# runtime, or tracing (with OpenTelemetry), or simulator (for the demo): a lock in requirements/.
ARG LOCK=runtime
ENV UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /src
COPY requirements/uv.txt requirements/
RUN python -m venv /uv \
    && /uv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/uv.txt
COPY requirements/${LOCK}.txt requirements/
RUN /uv/bin/uv venv /app \
    && /uv/bin/uv pip sync --python /app --require-hashes --no-build requirements/${LOCK}.txt
# What builds our wheel is locked as well; that lock is the one that has hatchling.
COPY requirements/simulator.txt requirements/
COPY pyproject.toml README.md LICENSE ./
COPY service service
RUN /uv/bin/uv build --wheel --require-hashes --build-constraints requirements/simulator.txt --out-dir /dist \
    && /uv/bin/uv pip install --python /app --no-deps /dist/*.whl
COPY deploy/image deploy/image
RUN /app/bin/python deploy/image/without_symbols.py /app

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="photogpt-webhooks" \
      org.opencontainers.image.description="Webhooks for PhotoGPT trainings" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"
# A volume or tmpfs that is mounted here takes over this mode: any user id can be chosen at the start.
RUN install -d -o 10001 -g 10001 -m 1777 /data
COPY --from=build /app /app
# Later nobody may write bytecode, and every start would compile what it imports. So it is made now, of what a gateway
# and its health check import, base included: half of what compiling everything would take. (What needs packages of
# another lock is passed over, and what Alembic runs can't be imported.)
RUN ["/app/bin/python", "-c", "\
import compileall, http.client, asyncpg, sqlalchemy.dialects.postgresql.asyncpg, sqlalchemy.dialects.sqlite, rich.table, service\n\
from contextlib import suppress; from importlib import import_module; from pkgutil import walk_packages\n\
for found in walk_packages(service.__path__, 'service.', onerror=lambda name: None):\n\
 with suppress(ModuleNotFoundError): '.migrations.' in found.name or import_module(found.name)\n\
compileall.compile_dir(service.__path__[0], quiet=1)"]
# SQLite spills its savepoints to a file once they are large, and on a read-only root /tmp is no place for it.
ENV PATH=/app/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DATABASE_URL=sqlite:////data/gateway.db \
    SQLITE_TMPDIR=/data
WORKDIR /app
# By number: Kubernetes can't tell that a name isn't root.
USER 10001:10001
VOLUME /data
EXPOSE 8470 8471
# Not urllib, which would ask a proxy from the environment.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-ISc", "\
import os; from http.client import HTTPConnection; \
probe = HTTPConnection('127.0.0.1', int(os.environ.get('GATEWAY_HEALTH_PORT', '8471')), timeout=4); \
probe.request('GET', '/livez'); raise SystemExit(probe.getresponse().status != 200)"]
ENTRYPOINT ["photogpt-webhooks"]
CMD ["serve"]
