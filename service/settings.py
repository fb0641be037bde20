"""Every setting: its environment variable, type, default and meaning. Nothing else reads the environment."""

from __future__ import annotations

import ipaddress
import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.domain.errors import ConfigurationError

_DEFAULT_SCHEDULE = "0,5,300,1800,7200,18000,36000,50400,72000,86400"
_PREFIXES = ("GATEWAY_", "PHOTOGPT_")
# What the command line, not the gateway, reads.
_CLIENT_VARIABLES = frozenset({"GATEWAY_URL"})
_FROM_FILE = "_FILE"


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
    mode: Literal["sidecar"] = _variable("GATEWAY_MODE", "sidecar", "How the gateway is used; only 'sidecar' so far.")
    host: str = _variable("GATEWAY_HOST", "127.0.0.1", "Address the API listens on.")
    port: int = _variable("GATEWAY_PORT", 8470, "Port of the API; 0 picks a free one.", ge=0, le=65535)
    health_port: int = _variable(
        "GATEWAY_HEALTH_PORT", 8471, "Port of /livez and /readyz on all interfaces; 0 picks a free one.", ge=0, le=65535
    )
    token: SecretStr | None = _variable(
        "GATEWAY_TOKEN", None, "What callers send as Bearer when PHOTOGPT_API_KEY is set; none is needed if unset."
    )
    master_key: SecretStr | None = _variable(
        "GATEWAY_MASTER_KEY", None, "Base64 of 32 bytes; seals keys and secrets. On SQLite made at the first start."
    )
    poll_interval: Seconds = _variable("GATEWAY_POLL_INTERVAL", 300.0, "Seconds between two polls of a model.")
    lease: Seconds = _variable("GATEWAY_LEASE", 60.0, "Seconds a worker holds a claimed row.")
    overdue_after: Seconds = _variable("GATEWAY_OVERDUE_AFTER", 2100.0, "Seconds until a training counts as overdue.")
    expire_after: Seconds = _variable("GATEWAY_EXPIRE_AFTER", 86400.0, "Seconds until a watch is given up.")
    retry_schedule: Annotated[tuple[float, ...], NoDecode, BeforeValidator(_seconds_list)] = _variable(
        "GATEWAY_RETRY_SCHEDULE", _DEFAULT_SCHEDULE, "Seconds before each attempt of a delivery.", validate_default=True
    )
    attempt_timeout: Seconds = _variable("GATEWAY_ATTEMPT_TIMEOUT", 15.0, "Seconds for one whole attempt.")
    upstream_timeout: Seconds = _variable("GATEWAY_UPSTREAM_TIMEOUT", 30.0, "Seconds for one whole call to PhotoGPT.")
    polls_in_flight: int = _variable("GATEWAY_POLLS_IN_FLIGHT", 64, "Polls under way at once.", ge=1, le=4096)
    deliveries_in_flight: int = _variable(
        "GATEWAY_DELIVERIES_IN_FLIGHT", 256, "Attempts under way at once.", ge=1, le=4096
    )
    deliveries_per_host: int = _variable(
        "GATEWAY_DELIVERIES_PER_HOST", 8, "Attempts under way at once to one host and port.", ge=1, le=4096
    )
    retention_days: float = _variable(
        "GATEWAY_RETENTION_DAYS", 30.0, "Days that ended trainings, events and deliveries are kept.", gt=0, le=3650
    )
    polls_per_second: float = _variable(
        "GATEWAY_POLLS_PER_SECOND", 150.0, "All polls together: no more start in a second.", gt=0, le=1_000_000
    )
    polls_per_key: int = _variable(
        "GATEWAY_POLLS_PER_KEY", 4, "Polls under way at once for one PhotoGPT key.", ge=1, le=4096
    )
    crash_at: str | None = _variable(
        "GATEWAY_CRASH_AT",
        None,
        "For tests only: die at this point of the failure model, C1 to C16, or at its Nth time: C8:N.",
        pattern=r"^C([1-9]|1[0-6])(:[1-9][0-9]{0,5})?$",
    )
    log_level: Literal["debug", "info", "warning", "error"] = _variable(
        "GATEWAY_LOG_LEVEL", "info", "The least severe lines that are logged."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        longest = max(self.upstream_timeout, self.attempt_timeout)
        if self.lease <= longest:
            # Otherwise a second worker takes the row while the first is still at it (svix-webhooks PR 2181).
            raise ValueError(
                f"GATEWAY_LEASE ({self.lease:g}) must exceed GATEWAY_UPSTREAM_TIMEOUT and GATEWAY_ATTEMPT_TIMEOUT "
                f"({longest:g})"
            )
        if not 1 <= len(self.retry_schedule) <= 50 or not all(0 <= step <= 31 * 86400 for step in self.retry_schedule):
            raise ValueError("GATEWAY_RETRY_SCHEDULE must list 1 to 50 numbers of seconds, each from 0 to 31 days")
        if not _is_base_url(self.photogpt_base_url):
            raise ValueError(
                "PHOTOGPT_BASE_URL must be https://HOST[:PORT]/PATH (or http://), without query or fragment"
            )
        key = self.photogpt_api_key.get_secret_value() if self.photogpt_api_key else "-"
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise ValueError("PHOTOGPT_API_KEY must be printable ASCII without blanks: it goes into a header")
        if not self.database_url.startswith(("sqlite:///", "postgresql://")):
            raise ValueError("DATABASE_URL must begin with sqlite:/// or postgresql://")
        if self.token and not self.photogpt_api_key:
            raise ValueError(
                "GATEWAY_TOKEN needs PHOTOGPT_API_KEY: without it callers authenticate with their own keys"
            )
        if self.photogpt_api_key and not self.token and not self.on_loopback:
            raise ValueError(
                f"GATEWAY_HOST={self.host} lets the network spend the money of PHOTOGPT_API_KEY: set GATEWAY_TOKEN"
            )
        return self

    @property
    def on_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def schedule(self) -> tuple[timedelta, ...]:
        return tuple(timedelta(seconds=step) for step in self.retry_schedule)

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


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment, `.env` and `*_FILE` variables; ConfigurationError in one line if one is wrong."""
    try:
        return Settings(**_from_files(), **overrides)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_explain(problem) for problem in error.errors())) from None


def unknown_variables() -> list[str]:
    """Variables that look like settings and are none: misspelt, mostly."""
    known = {_variable_of(name) for name in Settings.model_fields}
    known |= {name + _FROM_FILE for name in known if _is_secret(name)} | _CLIENT_VARIABLES
    return sorted(name for name in os.environ if name.startswith(_PREFIXES) and name not in known)


def environment_without_settings() -> dict[str, str]:
    """The environment for a child process that must not inherit our settings."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES) and name != "DATABASE_URL"
    }


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        valid_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"} and bool(parts.hostname) and valid_port and not parts.query + parts.fragment
    )


def _from_files() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in Settings.model_fields:
        variable = _variable_of(field)
        path = os.environ.get(variable + _FROM_FILE)
        if path is None or not _is_secret(variable):
            continue
        try:
            found[variable] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{variable}{_FROM_FILE}={path} can't be read: {error}") from None
    return found


def _variable_of(field: str) -> str:
    alias = Settings.model_fields[field].validation_alias
    if not isinstance(alias, AliasChoices):
        raise TypeError(field)
    return str(alias.choices[0])


def _is_secret(variable: str) -> bool:
    return variable in {"PHOTOGPT_API_KEY", "GATEWAY_TOKEN", "GATEWAY_MASTER_KEY"}


def _explain(problem: Any) -> str:
    where = str(problem["loc"][0]) if problem["loc"] else ""
    what = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
