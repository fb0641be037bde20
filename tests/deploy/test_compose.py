from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from service.components import DRAIN_SECONDS
from service.settings import IN_FILES, Settings
from tests.deploy.reading import DEPLOY, PROJECT, ROOT, Dockerfile, defaults, known_variables, load_yaml

FILES = ("compose.yaml", "compose.postgresql.yaml", "compose.demo.yaml")
# Of the demo only: what they are set to is no secret.
NO_SECRETS = {"PHOTOGPT_API_KEY": "pgpt-demo-key", "GATEWAY_TOKEN": "demo-token"}
Service = dict[str, Any]

every_file = pytest.mark.parametrize("file", FILES)
for_use = pytest.mark.parametrize("file", FILES[:2])


def ours(file: str) -> Iterator[tuple[str, Service]]:
    """The services that run our image."""
    for name, service in load_yaml(DEPLOY / file)["services"].items():
        if "build" in service:
            yield name, service


def gateways(file: str) -> list[Service]:
    """... and those that are gateways."""
    return [service for name, service in ours(file) if name.startswith("gateway")]


def test_every_file_is_looked_at() -> None:
    assert {path.name for path in DEPLOY.glob("compose*.yaml")} == set(FILES)
    assert [len(gateways(file)) for file in FILES] == [1, 2, 1]


@every_file
def test_it_builds_the_image_of_this_version(file: str) -> None:
    for _, service in ours(file):
        build = service["build"] if isinstance(service["build"], dict) else {"context": service["build"]}
        assert (DEPLOY / build["context"]).resolve() == ROOT
        lock = build.get("args", {}).get("LOCK", "runtime")
        assert (ROOT / "requirements" / f"{lock}.txt").exists()
        suffix = "" if lock == "runtime" else f"-{lock}"
        assert service["image"] == f"photogpt-webhooks:{PROJECT['version']}{suffix}"


@every_file
def test_a_gateway_starts_with_its_settings(file: str, started_with: Callable[[Mapping[str, str]], Settings]) -> None:
    for gateway in gateways(file):
        assert gateway["environment"].keys() <= known_variables()
        settings = started_with(gateway["environment"])
        assert not settings.on_loopback
        assert settings.token or settings.mode == "gateway"


@for_use
def test_only_apis_are_published_and_to_this_machine_only(file: str) -> None:
    inside = defaults()["GATEWAY_PORT"]
    published = [gateway["ports"] for gateway in gateways(file)]
    outside = [port.split(":")[1] for (port,) in published]
    assert published == [[f"127.0.0.1:{port}:{inside}"] for port in outside]
    assert len(set(outside)) == len(outside)
    others = load_yaml(DEPLOY / file)["services"].values()
    assert [service for service in others if "ports" in service and "build" not in service] == []


@for_use
def test_secrets_come_from_files_that_git_ignores(file: str) -> None:
    compose = load_yaml(DEPLOY / file)
    used = set()
    for service in compose["services"].values():
        named = {value for name, value in service["environment"].items() if name.endswith("_FILE")}
        assert named == {f"/run/secrets/{name}" for name in service["secrets"]}
        assert service["environment"].keys() & IN_FILES == set()
        used |= set(service["secrets"])
    assert used == compose["secrets"].keys()
    assert {Path(secret["file"]).parts[0] for secret in compose["secrets"].values()} == {"secrets"}
    assert "/secrets/" in (DEPLOY / ".gitignore").read_text().splitlines()


def test_the_demo_has_no_secret() -> None:
    (gateway,) = gateways("compose.demo.yaml")
    assert {name: gateway["environment"].get(name) for name in NO_SECRETS} == NO_SECRETS
    assert gateway["environment"].keys() & IN_FILES == NO_SECRETS.keys()


@every_file
def test_they_may_do_no_more_than_they_need(file: str) -> None:
    for _, service in ours(file):
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert {"privileged", "user", "cap_add", "network_mode"} & service.keys() == set()


@every_file
def test_the_state_outlives_the_containers(file: str) -> None:
    volumes = load_yaml(DEPLOY / file)["volumes"]
    for gateway in gateways(file):
        if "DATABASE_URL_FILE" not in gateway["environment"]:
            (volume,) = gateway["volumes"]
            name, path = volume.split(":")
            assert name in volumes
            assert path == Dockerfile().last("VOLUME")


@every_file
def test_a_gateway_is_given_the_time_to_drain(file: str) -> None:
    for gateway in gateways(file):
        assert int(gateway["stop_grace_period"].removesuffix("s")) >= DRAIN_SECONDS + 5


@every_file
def test_the_health_check_of_the_image_stays_on(file: str) -> None:
    assert [gateway for gateway in gateways(file) if "healthcheck" in gateway] == []


def test_two_gateways_share_what_photogpt_may_see_of_one() -> None:
    for gateway in gateways("compose.postgresql.yaml"):
        for name in ("GATEWAY_POLLS_PER_SECOND", "GATEWAY_POLLS_PER_KEY", "GATEWAY_DELIVERIES_PER_HOST"):
            assert 2 * float(gateway["environment"][name]) == defaults()[name]


def test_nobody_but_the_gateways_reaches_the_database() -> None:
    compose = load_yaml(DEPLOY / "compose.postgresql.yaml")
    assert compose["services"]["postgresql"]["networks"] == ["database"]
    assert compose["networks"]["database"] == {"internal": True}


def test_what_the_demo_runs_is_python() -> None:
    train = load_yaml(DEPLOY / "compose.demo.yaml")["services"]["train"]
    assert train["entrypoint"] == ["python", "-c"]
    compile(train["command"][0], "train", "exec")
