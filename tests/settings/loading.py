"""Settings from an environment that a test makes."""

from __future__ import annotations

import pytest

from service.environment import load_settings
from service.settings import Settings

DEFAULTS = {
    "PHOTOGPT_BASE_URL": "https://developer.photogptai.com/api",
    "PHOTOGPT_API_KEY": None,
    "DATABASE_URL": "sqlite:///./data/gateway.db",
    "GATEWAY_MODE": "sidecar",
    "GATEWAY_ROLE": "all",
    "GATEWAY_REUSE_PORT": False,
    "GATEWAY_HOST": "127.0.0.1",
    "GATEWAY_PORT": 8470,
    "GATEWAY_HEALTH_PORT": 8471,
    "GATEWAY_TOKEN": None,
    "GATEWAY_ADMIN_TOKEN": None,
    "GATEWAY_MASTER_KEY": None,
    "GATEWAY_PREVIOUS_MASTER_KEY": None,
    "GATEWAY_EXCERPTS": None,
    "GATEWAY_DOCS": True,
    "GATEWAY_CALLBACK_ALLOW": "",
    "GATEWAY_CALLBACK_ALLOW_METADATA": False,
    "GATEWAY_EGRESS_PROXY": None,
    "GATEWAY_TENANT_TRAININGS": None,
    "GATEWAY_TENANT_ENDPOINTS": 90,
    "GATEWAY_TENANT_REQUESTS_PER_SECOND": None,
    "GATEWAY_TENANT_DELIVERIES": None,
    "GATEWAY_POLL_INTERVAL": 300.0,
    "POLL_SCHEDULE": "",
    "GATEWAY_LEASE": 60.0,
    "GATEWAY_OVERDUE_AFTER": 2100.0,
    "GATEWAY_EXPIRE_AFTER": 86400.0,
    "GATEWAY_QUEUE_PAUSE": 60.0,
    "GATEWAY_QUEUE_EXPIRE_AFTER": 86400.0,
    "GATEWAY_RETRY_SCHEDULE": (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400),
    "GATEWAY_ATTEMPT_TIMEOUT": 15.0,
    "GATEWAY_UPSTREAM_TIMEOUT": 30.0,
    "GATEWAY_PROXY_ALL": False,
    "GATEWAY_PROXY_MOST_BYTES": 512 * 1024**2,
    "GATEWAY_PROXY_TIMEOUT": 3600.0,
    "GATEWAY_POLLS_IN_FLIGHT": 64,
    "GATEWAY_DELIVERIES_IN_FLIGHT": 256,
    "GATEWAY_DELIVERIES_PER_HOST": 8,
    "GATEWAY_RETENTION_DAYS": 30.0,
    "GATEWAY_POLLS_PER_SECOND": 150.0,
    "GATEWAY_POLLS_PER_KEY": 4,
    "GATEWAY_SWEEP": True,
    "GATEWAY_CRASH_AT": None,
    "GATEWAY_LOG_LEVEL": "info",
    "GATEWAY_TRACES": False,
    "GATEWAY_ACCESS_LOG": "errors",
}


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def by_variable(settings: Settings) -> dict[str, object]:
    return {
        str(field.validation_alias.choices[0]): getattr(settings, name)  # type: ignore[union-attr]
        for name, field in Settings.model_fields.items()
    }
