"""Every setting: what it is by default, by mode, and what it may be."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from service.domain.errors import ConfigurationError
from service.domain.schedule import FINE
from service.environment import load_settings
from service.settings import Settings
from tests.settings.loading import DEFAULTS, by_variable, loaded


def test_the_defaults() -> None:
    assert by_variable(load_settings()) == DEFAULTS


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not (field.description or "").endswith(".")] == []


def test_the_schedule_is_a_row_of_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, GATEWAY_RETRY_SCHEDULE="0, 0.5 ,3")
    assert settings.schedule == (timedelta(0), timedelta(seconds=0.5), timedelta(seconds=3))


def test_the_poll_schedule_is_a_row_of_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().poll_times == ()
    assert loaded(monkeypatch, POLL_SCHEDULE="fine").poll_times == FINE
    assert loaded(monkeypatch, POLL_SCHEDULE="60, 120.5").poll_times == (
        timedelta(seconds=60),
        timedelta(seconds=120.5),
    )


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("PHOTOGPT_BASE_URL", "http://127.0.0.1:9000/api", "http://127.0.0.1:9000/api"),
        ("DATABASE_URL", "sqlite:////var/lib/gateway.db", "sqlite:////var/lib/gateway.db"),
        ("DATABASE_URL", "postgresql://app@db/gateway", "postgresql://app@db/gateway"),
        ("GATEWAY_HOST", "0.0.0.0", "0.0.0.0"),
        ("GATEWAY_PORT", "0", 0),
        ("GATEWAY_PORT", "65535", 65535),
        ("GATEWAY_HEALTH_PORT", "0", 0),
        ("GATEWAY_POLL_INTERVAL", "0.05", 0.05),
        ("GATEWAY_POLL_INTERVAL", "2678400", 2678400.0),
        ("POLL_SCHEDULE", "fine", "fine"),
        ("POLL_SCHEDULE", "60,120,1500.5", "60,120,1500.5"),
        ("GATEWAY_LEASE", "30.5", 30.5),
        ("GATEWAY_OVERDUE_AFTER", "1e2", 100.0),
        ("GATEWAY_EXPIRE_AFTER", "1", 1.0),
        ("GATEWAY_QUEUE_PAUSE", "0.2", 0.2),
        ("GATEWAY_QUEUE_EXPIRE_AFTER", "3600", 3600.0),
        ("GATEWAY_RETRY_SCHEDULE", "0", (0.0,)),
        ("GATEWAY_RETRY_SCHEDULE", "0,0,0", (0.0, 0.0, 0.0)),
        ("GATEWAY_RETRY_SCHEDULE", "2678400", (2678400.0,)),
        ("GATEWAY_RETRY_SCHEDULE", ",".join(["1"] * 50), (1.0,) * 50),
        ("GATEWAY_ATTEMPT_TIMEOUT", "59.9", 59.9),
        ("GATEWAY_UPSTREAM_TIMEOUT", "59.9", 59.9),
        ("GATEWAY_PROXY_ALL", "true", True),
        ("GATEWAY_PROXY_MOST_BYTES", "1024", 1024),
        ("GATEWAY_PROXY_TIMEOUT", "0.5", 0.5),
        ("GATEWAY_POLLS_IN_FLIGHT", "1", 1),
        ("GATEWAY_POLLS_IN_FLIGHT", "4096", 4096),
        ("GATEWAY_DELIVERIES_IN_FLIGHT", "4096", 4096),
        ("GATEWAY_POLLS_PER_SECOND", "0.5", 0.5),
        ("GATEWAY_POLLS_PER_SECOND", "1e6", 1_000_000.0),
        ("GATEWAY_POLLS_PER_KEY", "1", 1),
        ("GATEWAY_POLLS_PER_KEY", "4096", 4096),
        ("GATEWAY_CRASH_AT", "C1", "C1"),
        ("GATEWAY_CRASH_AT", "C16:999999", "C16:999999"),
        ("GATEWAY_LOG_LEVEL", "debug", "debug"),
        ("GATEWAY_TRACES", "true", True),
        ("GATEWAY_ACCESS_LOG", "all", "all"),
    ],
)
def test_a_setting_is_taken_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, value: object
) -> None:
    assert by_variable(loaded(monkeypatch, **{variable: text})) == {**DEFAULTS, variable: value}


@pytest.mark.parametrize(
    ("text", "point"), [("C1", ("C1", 1)), ("C16", ("C16", 1)), ("C8:1", ("C8", 1)), ("C8:123456", ("C8", 123_456))]
)
def test_where_to_crash_and_at_which_time(monkeypatch: pytest.MonkeyPatch, text: str, point: tuple[str, int]) -> None:
    assert load_settings().crash_point is None
    assert loaded(monkeypatch, GATEWAY_CRASH_AT=text).crash_point == point


def test_a_gateway_is_for_the_network_and_for_many(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, GATEWAY_MODE="gateway", GATEWAY_MASTER_KEY="m")
    different = {name: value for name, value in by_variable(settings).items() if value != DEFAULTS[name]}
    assert different.pop("GATEWAY_MODE") == "gateway"
    assert different.pop("GATEWAY_MASTER_KEY") is not None
    assert different == {
        "GATEWAY_HOST": "0.0.0.0",
        "GATEWAY_TENANT_TRAININGS": 10_000,
        "GATEWAY_TENANT_REQUESTS_PER_SECOND": 50.0,
        "GATEWAY_TENANT_DELIVERIES": 64,
    }
    chosen = loaded(monkeypatch, GATEWAY_HOST="127.0.0.1", GATEWAY_TENANT_TRAININGS="5")
    assert (chosen.host, chosen.tenant_trainings, chosen.tenant_deliveries) == ("127.0.0.1", 5, 64)


@pytest.mark.parametrize("allowed", ["169.254.169.254", "10.0.0.0/8", "0.0.0.0/0", "db.internal:5432", "[::1]:80"])
def test_what_hands_out_credentials_takes_a_switch_of_its_own(monkeypatch: pytest.MonkeyPatch, allowed: str) -> None:
    switch = "true" if allowed.startswith("169") else "false"
    settings = loaded(monkeypatch, GATEWAY_CALLBACK_ALLOW=allowed, GATEWAY_CALLBACK_ALLOW_METADATA=switch)
    assert settings.callback_allow == allowed


@pytest.mark.parametrize(
    ("mode", "host", "to_loopback"),
    [
        ("sidecar", "127.0.0.1", True),
        ("sidecar", "0.0.0.0", False),
        ("gateway", "127.0.0.1", False),
        ("gateway", "0.0.0.0", False),
    ],
)
def test_callbacks_to_this_machine_are_for_callers_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, mode: str, host: str, to_loopback: bool
) -> None:
    settings = loaded(monkeypatch, GATEWAY_MODE=mode, GATEWAY_HOST=host, GATEWAY_MASTER_KEY="m")
    assert settings.callbacks_to_loopback is to_loopback


@pytest.mark.parametrize(
    ("host", "on_loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("gateway.internal", False),
    ],
)
def test_a_key_is_only_spent_by_this_machine_or_with_a_token(
    monkeypatch: pytest.MonkeyPatch, host: str, on_loopback: bool
) -> None:
    assert loaded(monkeypatch, GATEWAY_HOST=host).on_loopback is on_loopback
    assert loaded(monkeypatch, PHOTOGPT_API_KEY="k", GATEWAY_TOKEN="t").host == host
    monkeypatch.delenv("GATEWAY_TOKEN")
    if on_loopback:
        assert load_settings().host == host
    else:
        with pytest.raises(ConfigurationError, match="set GATEWAY_TOKEN"):
            load_settings()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///./data/gateway.db", "data/gateway.db"),
        ("sqlite:////var/lib/gateway.db", "/var/lib/gateway.db"),
        ("postgresql://app@db/gateway", None),
    ],
)
def test_sqlite_is_a_file(monkeypatch: pytest.MonkeyPatch, url: str, path: str | None) -> None:
    assert loaded(monkeypatch, DATABASE_URL=url).sqlite_path == (None if path is None else Path(path))


def test_settings_are_not_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1
