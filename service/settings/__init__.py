"""Every setting: its environment variable, type, default and meaning.

Where they are read from: `environment`. Which of them fit together: `rules`.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.domain.schedule import parsed_schedule
from service.settings.rules import violations

_DEFAULT_SCHEDULE = "0,5,300,1800,7200,18000,36000,50400,72000,86400"
SECRETS = frozenset(
    {
        "PHOTOGPT_API_KEY",
        "GATEWAY_TOKEN",
        "GATEWAY_ADMIN_TOKEN",
        "GATEWAY_MASTER_KEY",
        "GATEWAY_PREVIOUS_MASTER_KEY",
    }
)
# What may stand in a file that NAME_FILE names: also the address of PostgreSQL, which has a password in it.
IN_FILES = SECRETS | {"DATABASE_URL"}
_GATEWAY_DEFAULTS = {
    "GATEWAY_HOST": "0.0.0.0",  # noqa: S104  # a gateway is there for the network
    "GATEWAY_TENANT_TRAININGS": 10_000,
    "GATEWAY_TENANT_REQUESTS_PER_SECOND": 50.0,
    "GATEWAY_TENANT_DELIVERIES": 64,
}


def _seconds_list(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return value


Seconds = Annotated[float, Field(gt=0, le=31 * 86400, allow_inf_nan=False)]


def _variable(name: str, default: Any, description: str, **rules: Any) -> Any:
    return Field(default, validation_alias=AliasChoices(name), description=description, **rules)


class Settings(BaseSettings):
    """Numbers of seconds may be fractions, so that tests run the real thing fast."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True)

    photogpt_base_url: str = _variable(
        "PHOTOGPT_BASE_URL", "https://developer.photogptai.com/api", "Where PhotoGPT's API is."
    )
    photogpt_api_key: SecretStr | None = _variable(
        "PHOTOGPT_API_KEY", None, "The one PhotoGPT key of this sidecar. Unset: every caller brings its own as Bearer."
    )
    database_url: str = _variable(
        "DATABASE_URL", "sqlite:///./data/gateway.db", "sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME."
    )
    mode: Literal["sidecar", "gateway"] = _variable(
        "GATEWAY_MODE", "sidecar", "'sidecar': beside one application. 'gateway': for many tenants, on the network."
    )
    role: Literal["all", "api", "worker"] = _variable(
        "GATEWAY_ROLE",
        "all",
        "What this process does: 'api' answers requests, 'worker' polls and delivers; PostgreSQL only. 'all': both.",
    )
    reuse_port: bool = _variable(
        "GATEWAY_REUSE_PORT",
        False,  # noqa: FBT003
        "Lets several processes on one machine listen on GATEWAY_PORT; the kernel spreads callers. PostgreSQL only.",
    )
    host: str = _variable(
        "GATEWAY_HOST", "127.0.0.1", "Address the API listens on; in gateway mode 0.0.0.0 unless set."
    )
    port: int = _variable("GATEWAY_PORT", 8470, "Port of the API; 0 picks a free one.", ge=0, le=65535)
    health_port: int = _variable(
        "GATEWAY_HEALTH_PORT", 8471, "Port of /livez and /readyz on all interfaces; 0 picks a free one.", ge=0, le=65535
    )
    token: SecretStr | None = _variable(
        "GATEWAY_TOKEN", None, "What callers send as Bearer when PHOTOGPT_API_KEY is set; none is needed if unset."
    )
    admin_token: SecretStr | None = _variable(
        "GATEWAY_ADMIN_TOKEN",
        None,
        "What /ops, the operator's page, is logged in to with; 16 characters at least. Unset: /ops is there for a "
        "sidecar on loopback without GATEWAY_TOKEN, then without login, and else not at all.",
    )
    master_key: SecretStr | None = _variable(
        "GATEWAY_MASTER_KEY", None, "Base64 of 32 bytes; seals keys and secrets. On SQLite made at the first start."
    )
    previous_master_key: SecretStr | None = _variable(
        "GATEWAY_PREVIOUS_MASTER_KEY",
        None,
        "While GATEWAY_MASTER_KEY is rotated: the one before; until `photogpt-webhooks rewrap` is through.",
    )
    docs: bool = _variable("GATEWAY_DOCS", True, "Whether /docs and /openapi.json are served.")  # noqa: FBT003
    callback_allow: str = _variable(
        "GATEWAY_CALLBACK_ALLOW",
        "",
        "Private destinations callbacks may go to, also over http: host[:port] or CIDR[:port], comma-separated.",
    )
    callback_allow_metadata: bool = _variable(
        "GATEWAY_CALLBACK_ALLOW_METADATA",
        False,  # noqa: FBT003
        "Lets GATEWAY_CALLBACK_ALLOW name link-local and cloud metadata addresses, which hand out credentials.",
    )
    egress_proxy: str | None = _variable(
        "GATEWAY_EGRESS_PROXY", None, "http://HOST:PORT of a proxy that all webhooks go through; it resolves the names."
    )
    tenant_trainings: int | None = _variable(
        "GATEWAY_TENANT_TRAININGS", None, "Active trainings of one tenant; in gateway mode 10000 unless set.", ge=1
    )
    tenant_endpoints: int = _variable("GATEWAY_TENANT_ENDPOINTS", 90, "Webhook endpoints of one tenant.", ge=1, le=90)
    tenant_requests_per_second: float | None = _variable(
        "GATEWAY_TENANT_REQUESTS_PER_SECOND",
        None,
        "Requests of one tenant a second at one process, on average; in gateway mode 50 unless set.",
        gt=0,
        le=1_000_000,
    )
    tenant_deliveries: int | None = _variable(
        "GATEWAY_TENANT_DELIVERIES",
        None,
        "Attempts of one process under way at once for one tenant; in gateway mode 64 unless set.",
        ge=1,
        le=4096,
    )
    excerpts: bool | None = _variable(
        "GATEWAY_EXCERPTS",
        None,
        "Whether the first bytes of receivers' answers are kept and shown; in gateway mode not unless set.",
    )
    poll_interval: Seconds = _variable("GATEWAY_POLL_INTERVAL", 300.0, "Seconds between two polls of a model.")
    poll_schedule: str = _variable(
        "POLL_SCHEDULE",
        "",
        "Seconds after its trigger at which a model is polled, comma-separated, before it is every "
        "GATEWAY_POLL_INTERVAL; or `fine`: as few polls, less delay.",
    )
    lease: Seconds = _variable("GATEWAY_LEASE", 60.0, "Seconds a worker holds a claimed row.")
    overdue_after: Seconds = _variable("GATEWAY_OVERDUE_AFTER", 2100.0, "Seconds until a training counts as overdue.")
    expire_after: Seconds = _variable("GATEWAY_EXPIRE_AFTER", 86400.0, "Seconds until a watch is given up.")
    queue_pause: Seconds = _variable(
        "GATEWAY_QUEUE_PAUSE", 60.0, "Seconds between two tries of a key to start what waits in its queue, at least."
    )
    queue_expire_after: Seconds = _variable(
        "GATEWAY_QUEUE_EXPIRE_AFTER", 86400.0, "Seconds that a training waits in its queue at most."
    )
    retry_schedule: Annotated[tuple[float, ...], NoDecode, BeforeValidator(_seconds_list)] = _variable(
        "GATEWAY_RETRY_SCHEDULE", _DEFAULT_SCHEDULE, "Seconds before each attempt of a delivery.", validate_default=True
    )
    attempt_timeout: Seconds = _variable("GATEWAY_ATTEMPT_TIMEOUT", 15.0, "Seconds for one whole attempt.")
    upstream_timeout: Seconds = _variable("GATEWAY_UPSTREAM_TIMEOUT", 30.0, "Seconds for one whole call to PhotoGPT.")
    proxy_all: bool = _variable(
        "GATEWAY_PROXY_ALL",
        False,  # noqa: FBT003
        "Whether /api passes on any path, and not only those that PhotoGPT documents.",
    )
    proxy_most_bytes: int = _variable(
        "GATEWAY_PROXY_MOST_BYTES", 512 * 1024**2, "Bytes of one body through /api, either way.", ge=1024, le=1024**4
    )
    proxy_timeout: Seconds = _variable(
        "GATEWAY_PROXY_TIMEOUT",
        3600.0,
        "Seconds for one whole exchange through /api; silence is cut after GATEWAY_UPSTREAM_TIMEOUT.",
    )
    polls_in_flight: int = _variable(
        "GATEWAY_POLLS_IN_FLIGHT", 64, "Polls of one process under way at once.", ge=1, le=4096
    )
    deliveries_in_flight: int = _variable(
        "GATEWAY_DELIVERIES_IN_FLIGHT", 256, "Attempts of one process under way at once.", ge=1, le=4096
    )
    deliveries_per_host: int = _variable(
        "GATEWAY_DELIVERIES_PER_HOST",
        8,
        "Attempts of one process under way at once to one host and port.",
        ge=1,
        le=4096,
    )
    retention_days: float = _variable(
        "GATEWAY_RETENTION_DAYS", 30.0, "Days that ended trainings, events and deliveries are kept.", gt=0, le=3650
    )
    polls_per_second: float = _variable(
        "GATEWAY_POLLS_PER_SECOND",
        150.0,
        "Polls of one process: no more start in a second. Of N workers each is given an Nth of what PhotoGPT may see.",
        gt=0,
        le=1_000_000,
    )
    polls_per_key: int = _variable(
        "GATEWAY_POLLS_PER_KEY", 4, "Polls of one process under way at once for one PhotoGPT key.", ge=1, le=4096
    )
    sweep: bool = _variable("GATEWAY_SWEEP", True, "Whether one GET /models polls all models of a key.")  # noqa: FBT003
    crash_at: str | None = _variable(
        "GATEWAY_CRASH_AT",
        None,
        "For tests only: die at this point of the failure model, C1 to C16, or at its Nth time: C8:N.",
        pattern=r"^C([1-9]|1[0-6])(:[1-9][0-9]{0,5})?$",
    )
    traces: bool = _variable(
        "GATEWAY_TRACES",
        False,  # noqa: FBT003
        "Whether spans are sent by OTLP, as OTEL_EXPORTER_OTLP_* say; needs the extra `tracing`.",
    )
    access_log: Literal["off", "errors", "all"] = _variable(
        "GATEWAY_ACCESS_LOG",
        "errors",
        "Which requests to the API have a line in the log; errors: those answered with 5xx.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = _variable(
        "GATEWAY_LOG_LEVEL", "info", "The least severe lines that are logged."
    )

    @model_validator(mode="before")
    @classmethod
    def _by_mode(cls, given: Any) -> Any:
        """What is not set has the default of its mode."""
        if isinstance(given, dict) and given.get("GATEWAY_MODE") == "gateway":
            return {**_GATEWAY_DEFAULTS, **{name: value for name, value in given.items() if value is not None}}
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        for violation in violations(self):
            raise ValueError(violation)
        return self

    @property
    def on_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def keeps_excerpts(self) -> bool:
        return self.mode == "sidecar" if self.excerpts is None else self.excerpts

    @property
    def open_to_this_machine(self) -> bool:
        """Whether callers send no credential: whoever can call is the tenant. Possible on loopback only."""
        return self.photogpt_api_key is not None and not self.token

    @property
    def open_ops(self) -> bool:
        """Whether /ops needs no login: beside one application, where all on this machine are trusted anyway."""
        return not self.admin_token and self.mode == "sidecar" and self.on_loopback and not self.token

    @property
    def ops(self) -> bool:
        """Whether there is /ops at all."""
        return bool(self.admin_token) or self.open_ops

    @property
    def callbacks_to_loopback(self) -> bool:
        """Whether callbacks may go to this machine: to those who call from this machine only."""
        return self.mode == "sidecar" and self.on_loopback

    @property
    def schedule(self) -> tuple[timedelta, ...]:
        return tuple(timedelta(seconds=step) for step in self.retry_schedule)

    @property
    def poll_times(self) -> tuple[timedelta, ...]:
        return parsed_schedule(self.poll_schedule)

    @property
    def crash_point(self) -> tuple[str, int] | None:
        """Where to die, and at which time of being there."""
        if self.crash_at is None:
            return None
        point, _, times = self.crash_at.partition(":")
        return point, int(times or 1)

    @property
    def sqlite_path(self) -> Path | None:
        """The database file, or None on PostgreSQL."""
        prefix = "sqlite:///"
        return Path(self.database_url.removeprefix(prefix)) if self.database_url.startswith(prefix) else None
