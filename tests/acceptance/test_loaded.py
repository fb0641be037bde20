"""What a sidecar on SQLite has loaded that is probed and scraped and has nothing else to do: it stays in its memory.

Names, and no figures, so that nothing depends on the machine; Python itself says what it loads.
"""

import json
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import httpx

from service.environment import environment_without_settings

# With all below them. Who needs one of them at every start deletes it here, and says in the commit what it costs.
NOT_LOADED = (
    "aiohttp.web",
    "alembic",
    "asyncpg",
    "fastapi.testclient",
    "fastapi_swagger",
    "httpx",
    "itsdangerous",
    "jinja2",
    "mako",
    "opentelemetry.sdk",
    "pydantic.v1.main",  # `pydantic.v1` is asked for, in vain
    "pygments",
    "rich.console",
    "service.cli.commands",
    "service.ops.install",
    "service.simulator",
    "service.storage.move",
    "service.storage.postgres",
    "service.telemetry.otlp",
    "sqlalchemy.dialects.mysql",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.ext.asyncio",
    "sqlmodel.ext",
    "standardwebhooks",
    "typer",
    "yaml",
)


def test_a_sidecar_on_sqlite_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    environment = {
        **environment_without_settings(),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONPROFILEIMPORTTIME": "1",
        "DATABASE_URL": f"sqlite:///{tmp_path}/gateway.db",
        "GATEWAY_PORT": "0",
        "GATEWAY_HEALTH_PORT": "0",
    }
    loaded = set()
    command = [sys.executable, "-m", "service", "serve"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("import time:"):
                loaded.add(line.rpartition("|")[2].strip())
            elif '"listening"' in line:
                health = f"http://127.0.0.1:{json.loads(line)['health_port']}"
                assert [httpx.get(f"{health}/{path}").status_code for path in ("livez", "readyz", "metrics")] == [
                    200
                ] * 3
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert loaded >= {"service.server", "service.storage.sqlite", "fastapi"}
    unwanted = {name for name in loaded for absent in NOT_LOADED if f"{name}.".startswith(f"{absent}.")}
    assert unwanted == set()


def test_what_is_not_to_be_loaded_is_there_to_be_loaded() -> None:
    assert [name for name in NOT_LOADED if not is_there(name)] == []


def is_there(name: str) -> bool:
    """By its files, so that nothing is imported to know it."""
    package, *inside = name.split(".")
    spec = find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    paths = [Path(folder, *inside) for folder in folders]
    return any(path.is_dir() or path.with_suffix(".py").is_file() for path in paths)
