import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from typer.main import get_group

from service.cli.commands import app
from service.settings import Settings
from tests.deploy.reading import PROJECT, ROOT, Dockerfile, defaults

# What the image sets beside our own settings.
OTHERS = {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "SQLITE_TMPDIR"}


@pytest.fixture(scope="module")
def dockerfile() -> Dockerfile:
    return Dockerfile()


def test_it_runs_as_a_numeric_user_without_rights(dockerfile: Dockerfile) -> None:
    user, group = dockerfile.last("USER").split(":")
    assert (int(user), int(group)) == (10001, 10001)


def test_both_stages_stand_on_one_replaceable_base(dockerfile: Dockerfile) -> None:
    assert dockerfile.all("ARG")[0] == "PYTHON_IMAGE=python:3.11-slim"
    assert dockerfile.all("FROM") == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]


def test_whatever_is_installed_or_builds_our_wheel_is_locked(dockerfile: Dockerfile) -> None:
    commands = [command.strip() for run in dockerfile.all("RUN") for command in run.split("&&")]
    fetching = [command for command in commands if any(f" {word} " in command for word in ("install", "sync", "build"))]
    assert len(fetching) == 4
    assert [
        command
        for command in fetching
        if not ("--require-hashes" in command or ("--no-deps" in command and command.endswith("/dist/*.whl")))
    ] == []


@pytest.mark.parametrize("lock", ["runtime", "tracing", "simulator"])
def test_whoever_wants_more_in_it_names_another_lock(dockerfile: Dockerfile, lock: str) -> None:
    assert dockerfile.all("ARG")[1:] == ["LOCK=runtime"]
    assert "requirements/${LOCK}.txt" in " ".join(dockerfile.all("RUN"))
    assert (ROOT / "requirements" / f"{lock}.txt").exists()


def test_the_image_installs_nothing_itself(dockerfile: Dockerfile) -> None:
    words = [word for word, _ in dockerfile.image]
    assert [arguments for word, arguments in dockerfile.image if word == "COPY"] == ["--from=build /app /app"]
    assert "ADD" not in words
    assert not any(" pip " in arguments or "apt" in arguments for word, arguments in dockerfile.image if word == "RUN")


def test_it_starts_the_gateway(dockerfile: Dockerfile) -> None:
    (command,) = json.loads(dockerfile.last("ENTRYPOINT"))
    (subcommand,) = json.loads(dockerfile.last("CMD"))
    assert command in PROJECT["scripts"]
    assert subcommand in get_group(app).commands


def test_it_names_its_version(dockerfile: Dockerfile) -> None:
    assert dockerfile.pairs("LABEL")["org.opencontainers.image.version"] == PROJECT["version"]


def test_its_ports_are_those_of_the_settings(dockerfile: Dockerfile) -> None:
    exposed = {int(port) for port in dockerfile.last("EXPOSE").split()}
    assert exposed == {defaults()["GATEWAY_PORT"], defaults()["GATEWAY_HEALTH_PORT"]}


def test_every_variable_it_sets_is_a_setting(dockerfile: Dockerfile) -> None:
    assert dockerfile.pairs("ENV").keys() - OTHERS <= defaults().keys()


def test_all_it_writes_goes_to_its_volume(
    dockerfile: Dockerfile, started_with: Callable[[Mapping[str, str]], Settings]
) -> None:
    environment = dockerfile.pairs("ENV")
    database = started_with({name: environment[name] for name in environment.keys() - OTHERS}).sqlite_path
    assert database is not None
    assert str(database.parent) == dockerfile.last("VOLUME") == environment["SQLITE_TMPDIR"] == "/data"


def test_only_what_is_copied_reaches_the_build(dockerfile: Dockerfile) -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    allowed = [line[1:].removesuffix("/**") for line in lines if line.startswith("!")]
    # ${LOCK} is one of the names that the ignore file has as *.
    sources = [
        name.replace("${LOCK}", "runtime")
        for copy in dockerfile.all("COPY")
        if not copy.startswith("--from")
        for name in copy.split()[:-1]
    ]
    assert lines[0] == "*"
    assert [name for name in sources if not any(fnmatch(name, pattern) for pattern in allowed)] == []
    assert [pattern for pattern in allowed if not any(fnmatch(name, pattern) for name in sources)] == []
    assert [name for name in sources if not (ROOT / name).exists()] == []


# --- the health check, run as it stands -------------------------------------------------------------------------------


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """A health port that gives this status; yields it and the paths that were asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


def check_health(dockerfile: Dockerfile, port: int) -> int:
    python, *arguments = json.loads(dockerfile.last("HEALTHCHECK").partition(" CMD ")[2])
    assert python == "python"
    # A proxy must not be asked about the container's own port.
    environment = {"GATEWAY_HEALTH_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    finished = subprocess.run(
        [sys.executable, *arguments], env=environment, check=False, capture_output=True, timeout=20
    )
    return finished.returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_goes_by_what_livez_says(dockerfile: Dockerfile, status: int, code: int) -> None:
    with answering(status) as (port, asked):
        assert check_health(dockerfile, port) == code
    assert asked == ["/livez"]


def test_the_health_check_fails_when_nobody_listens(dockerfile: Dockerfile) -> None:
    with answering(200) as (port, _):
        pass
    assert check_health(dockerfile, port) == 1


def test_the_health_check_asks_the_default_port(dockerfile: Dockerfile) -> None:
    assert f"'GATEWAY_HEALTH_PORT', '{defaults()['GATEWAY_HEALTH_PORT']}'" in dockerfile.last("HEALTHCHECK")
