import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from service.components import DRAIN_SECONDS
from service.settings import Settings
from tests.deploy.reading import DEPLOY, PROJECT, known_variables

UNIT = DEPLOY / "systemd/photogpt-webhooks.service"
LINES = re.findall(r"^([A-Za-z]+)=(.*)$", UNIT.read_text(), flags=re.MULTILINE)


def values(name: str) -> list[str]:
    return [value for found, value in LINES if found == name]


def value(name: str) -> str:
    (found,) = values(name)
    return found


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """As systemd would find it on a server where the gateway is installed."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze on this machine")
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace("/opt/photogpt-webhooks/bin/photogpt-webhooks", "/bin/true"))
    return path


def analyzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_systemd_understands_every_line(unit: Path) -> None:
    verified = analyzed("verify", str(unit))
    said = [line for line in (verified.stdout + verified.stderr).splitlines() if UNIT.name in line]
    assert (verified.returncode, said) == (0, [])


def test_systemd_calls_it_well_confined(unit: Path) -> None:
    judged = analyzed("security", "--offline=true", "--threshold=15", "--no-pager", str(unit))
    assert judged.returncode == 0, judged.stdout


def test_it_starts_the_gateway() -> None:
    program, command = value("ExecStart").split()
    assert Path(program).name in PROJECT["scripts"]
    assert command == "serve"


def test_the_gateway_starts_with_its_settings(started_with: Callable[[Mapping[str, str]], Settings]) -> None:
    given = dict(setting.split("=", 1) for setting in values("Environment"))
    # Not ours: SQLite's own.
    assert given.pop("SQLITE_TMPDIR") == value("WorkingDirectory")
    assert given.keys() <= known_variables()
    settings = started_with({name: text.replace("%S", "/var/lib") for name, text in given.items()})
    assert settings.on_loopback
    assert settings.sqlite_path == Path("/var/lib") / value("StateDirectory") / "gateway.db"


def test_secrets_are_credentials_of_the_service() -> None:
    handed_out = {f"%d/{credential.split(':')[0]}" for credential in values("LoadCredential")}
    read = {setting.partition("=")[2] for setting in values("Environment") if "_FILE=" in setting}
    assert read == handed_out


def test_it_is_given_the_time_to_drain() -> None:
    assert int(value("TimeoutStopSec")) >= DRAIN_SECONDS + 5


def test_a_wrong_setting_is_not_tried_again() -> None:
    assert (value("Restart"), value("RestartPreventExitStatus")) == ("always", "2")
