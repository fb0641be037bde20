from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from service.components import DRAIN_SECONDS
from service.settings import Settings
from tests.deploy.reading import DEPLOY, PROJECT, ROOT, Dockerfile, defaults, known_variables, load_yaml


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return load_yaml(DEPLOY / "compose.yaml")


@pytest.fixture(scope="module")
def gateway(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]["gateway"]
    return found


def test_it_builds_the_image_of_this_version(gateway: dict[str, Any]) -> None:
    assert (DEPLOY / gateway["build"]).resolve() == ROOT
    assert gateway["image"] == f"photogpt-webhooks:{PROJECT['version']}"


def test_every_variable_is_a_setting(gateway: dict[str, Any]) -> None:
    assert gateway["environment"].keys() <= known_variables()


def test_the_gateway_starts_with_its_settings(
    gateway: dict[str, Any], started_with: Callable[[Mapping[str, str]], Settings]
) -> None:
    settings = started_with(gateway["environment"])
    assert not settings.on_loopback
    assert settings.token
    assert settings.photogpt_api_key


def test_only_the_api_is_published_and_to_this_machine_only(gateway: dict[str, Any]) -> None:
    port = defaults()["GATEWAY_PORT"]
    assert gateway["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_secrets_come_from_files_that_git_ignores(compose: dict[str, Any], gateway: dict[str, Any]) -> None:
    environment = gateway["environment"]
    mounted = {value for name, value in environment.items() if name.endswith("_FILE")}
    assert mounted == {f"/run/secrets/{name}" for name in gateway["secrets"]}
    assert set(gateway["secrets"]) == compose["secrets"].keys()
    assert {Path(secret["file"]).parts[0] for secret in compose["secrets"].values()} == {"secrets"}
    assert "/secrets/" in (DEPLOY / ".gitignore").read_text().splitlines()


def test_it_may_do_no_more_than_it_needs(gateway: dict[str, Any]) -> None:
    assert gateway["read_only"] is True
    assert gateway["cap_drop"] == ["ALL"]
    assert gateway["security_opt"] == ["no-new-privileges:true"]
    assert {"privileged", "user", "cap_add", "network_mode"} & gateway.keys() == set()


def test_its_state_outlives_the_container(compose: dict[str, Any], gateway: dict[str, Any]) -> None:
    (volume,) = gateway["volumes"]
    name, path = volume.split(":")
    assert name in compose["volumes"]
    assert path == Dockerfile().last("VOLUME")


def test_it_is_given_the_time_to_drain(gateway: dict[str, Any]) -> None:
    assert int(gateway["stop_grace_period"].removesuffix("s")) >= DRAIN_SECONDS + 5


def test_the_health_check_of_the_image_stays_on(gateway: dict[str, Any]) -> None:
    assert "healthcheck" not in gateway
