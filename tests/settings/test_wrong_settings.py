"""The one line that says what is wrong with the settings."""

from __future__ import annotations

import pytest

from service.domain.errors import ConfigurationError
from tests.settings.loading import loaded

BASE_URL_RULE = "PHOTOGPT_BASE_URL must be https://HOST[:PORT]/PATH (or http://), without query or fragment"
HEADER_RULE = "must be printable ASCII without blanks: it goes into a header"
METADATA = ("169.254.0.0/16", "10.0.0.1,169.254.169.254:80", "[fd00:ec2::254]:80", "metadata.google.internal")
METADATA_RULE = (
    "GATEWAY_CALLBACK_ALLOW names addresses that hand out credentials: if that is meant, set "
    "GATEWAY_CALLBACK_ALLOW_METADATA=true as well"
)
PROXY_RULE = "GATEWAY_EGRESS_PROXY must be http://HOST:PORT, without user, path or query"
GATEWAY_KEY_RULE = (
    "GATEWAY_MODE=gateway needs GATEWAY_MASTER_KEY, which seals the tenants' keys: make one with "
    "`photogpt-webhooks keygen`"
)
NUMBER, INTEGER = (
    "Input should be a valid number, unable to parse string as a number",
    "Input should be a valid integer",
)
SCHEDULE = "GATEWAY_RETRY_SCHEDULE must list 1 to 50 numbers of seconds, each from 0 to 31 days"
NO_CRASH_POINTS = [
    "",
    "C",
    "C0",
    "C17",
    "C01",
    "c8",
    "8",
    "C8:",
    "C8:0",
    "C8:-1",
    "C8:1000000",
    "C8 ",
    "C8:1:1",
    "C8\n",
]
CRASH_AT = r"GATEWAY_CRASH_AT: String should match pattern '^C([1-9]|1[0-6])(:[1-9][0-9]{0,5})?$'"
POLL_SCHEDULE = "POLL_SCHEDULE must be `fine`, or 1 to 100 numbers of seconds after the trigger: 600,1200,1290"
TOO_CLOSE = (
    "POLL_SCHEDULE has 30 s between 600 s and 630 s: from the trigger on, polls must be at least 60 s apart, which is "
    "60 s, or a fifth of GATEWAY_POLL_INTERVAL (300 s) if that is less"
)
LEASE = "must exceed GATEWAY_UPSTREAM_TIMEOUT and GATEWAY_ATTEMPT_TIMEOUT"


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"GATEWAY_MODE": "proxy"}, "GATEWAY_MODE: Input should be 'sidecar' or 'gateway'"),
        ({"GATEWAY_MODE": "gateway"}, GATEWAY_KEY_RULE),
        ({"GATEWAY_MODE": "gateway", "GATEWAY_MASTER_KEY": ""}, GATEWAY_KEY_RULE),
        (
            {"GATEWAY_MODE": "gateway", "GATEWAY_MASTER_KEY": "m", "PHOTOGPT_API_KEY": "k"},
            "GATEWAY_MODE=gateway serves many tenants, each with its own key: unset PHOTOGPT_API_KEY",
        ),
        ({"GATEWAY_LOG_LEVEL": "loud"}, "GATEWAY_LOG_LEVEL: Input should be 'debug', 'info', 'warning' or 'error'"),
        ({"GATEWAY_PORT": "-1"}, "GATEWAY_PORT: Input should be greater than or equal to 0"),
        ({"GATEWAY_PORT": "65536"}, "GATEWAY_PORT: Input should be less than or equal to 65535"),
        ({"GATEWAY_PORT": "http"}, f"GATEWAY_PORT: {INTEGER}, unable to parse string as an integer"),
        ({"GATEWAY_PORT": ""}, f"GATEWAY_PORT: {INTEGER}, unable to parse string as an integer"),
        ({"GATEWAY_HEALTH_PORT": "8471.5"}, f"GATEWAY_HEALTH_PORT: {INTEGER}, unable to parse string as an integer"),
        ({"GATEWAY_POLL_INTERVAL": "0"}, "GATEWAY_POLL_INTERVAL: Input should be greater than 0"),
        ({"GATEWAY_POLL_INTERVAL": "-5"}, "GATEWAY_POLL_INTERVAL: Input should be greater than 0"),
        ({"GATEWAY_POLL_INTERVAL": "2678401"}, "GATEWAY_POLL_INTERVAL: Input should be less than or equal to 2678400"),
        ({"GATEWAY_POLL_INTERVAL": "5 min"}, f"GATEWAY_POLL_INTERVAL: {NUMBER}"),
        ({"GATEWAY_OVERDUE_AFTER": "nan"}, "GATEWAY_OVERDUE_AFTER: Input should be a finite number"),
        ({"GATEWAY_EXPIRE_AFTER": "inf"}, "GATEWAY_EXPIRE_AFTER: Input should be a finite number"),
        ({"GATEWAY_POLLS_IN_FLIGHT": "0"}, "GATEWAY_POLLS_IN_FLIGHT: Input should be greater than or equal to 1"),
        (
            {"GATEWAY_DELIVERIES_IN_FLIGHT": "4097"},
            "GATEWAY_DELIVERIES_IN_FLIGHT: Input should be less than or equal to 4096",
        ),
        ({"GATEWAY_POLLS_PER_SECOND": "0"}, "GATEWAY_POLLS_PER_SECOND: Input should be greater than 0"),
        ({"GATEWAY_POLLS_PER_SECOND": "-1"}, "GATEWAY_POLLS_PER_SECOND: Input should be greater than 0"),
        (
            {"GATEWAY_POLLS_PER_SECOND": "1e7"},
            "GATEWAY_POLLS_PER_SECOND: Input should be less than or equal to 1000000",
        ),
        ({"GATEWAY_POLLS_PER_KEY": "0"}, "GATEWAY_POLLS_PER_KEY: Input should be greater than or equal to 1"),
        ({"GATEWAY_POLLS_PER_KEY": "4097"}, "GATEWAY_POLLS_PER_KEY: Input should be less than or equal to 4096"),
        ({"GATEWAY_POLLS_PER_KEY": "1.5"}, f"GATEWAY_POLLS_PER_KEY: {INTEGER}, unable to parse string as an integer"),
        *(({"GATEWAY_CRASH_AT": text}, CRASH_AT) for text in NO_CRASH_POINTS),
        ({"GATEWAY_LEASE": "30"}, f"GATEWAY_LEASE (30) {LEASE} (30)"),
        ({"GATEWAY_UPSTREAM_TIMEOUT": "60"}, f"GATEWAY_LEASE (60) {LEASE} (60)"),
        ({"GATEWAY_ATTEMPT_TIMEOUT": "60.5"}, f"GATEWAY_LEASE (60) {LEASE} (60.5)"),
        ({"POLL_SCHEDULE": "coarse"}, POLL_SCHEDULE),
        ({"POLL_SCHEDULE": "600,"}, POLL_SCHEDULE),
        ({"POLL_SCHEDULE": "600,630"}, TOO_CLOSE),
        (
            {"POLL_SCHEDULE": "600", "GATEWAY_EXPIRE_AFTER": "599"},
            "POLL_SCHEDULE goes on to 600 s: a watch is given up after GATEWAY_EXPIRE_AFTER",
        ),
        ({"GATEWAY_RETRY_SCHEDULE": ""}, f"GATEWAY_RETRY_SCHEDULE: {NUMBER}"),
        ({"GATEWAY_RETRY_SCHEDULE": "0,soon"}, f"GATEWAY_RETRY_SCHEDULE: {NUMBER}"),
        ({"GATEWAY_RETRY_SCHEDULE": "0,5,"}, f"GATEWAY_RETRY_SCHEDULE: {NUMBER}"),
        ({"GATEWAY_RETRY_SCHEDULE": "0;5"}, f"GATEWAY_RETRY_SCHEDULE: {NUMBER}"),
        ({"GATEWAY_RETRY_SCHEDULE": "0,-1"}, SCHEDULE),
        ({"GATEWAY_RETRY_SCHEDULE": "0,2678401"}, SCHEDULE),
        ({"GATEWAY_RETRY_SCHEDULE": "0,nan"}, SCHEDULE),
        ({"GATEWAY_RETRY_SCHEDULE": "0,inf"}, SCHEDULE),
        ({"GATEWAY_RETRY_SCHEDULE": ",".join(["1"] * 51)}, SCHEDULE),
        ({"PHOTOGPT_BASE_URL": "developer.photogptai.com"}, BASE_URL_RULE),
        ({"PHOTOGPT_BASE_URL": "ftp://x"}, BASE_URL_RULE),
        ({"PHOTOGPT_BASE_URL": "https://"}, BASE_URL_RULE),
        ({"PHOTOGPT_BASE_URL": "http://[::1"}, BASE_URL_RULE),
        ({"PHOTOGPT_BASE_URL": "http://x:abc"}, BASE_URL_RULE),
        ({"PHOTOGPT_BASE_URL": "https://x/api?key=1"}, BASE_URL_RULE),
        ({"PHOTOGPT_API_KEY": "a key"}, f"PHOTOGPT_API_KEY {HEADER_RULE}"),
        ({"PHOTOGPT_API_KEY": "schlüssel"}, f"PHOTOGPT_API_KEY {HEADER_RULE}"),
        ({"PHOTOGPT_API_KEY": "k", "GATEWAY_TOKEN": "to ken"}, f"GATEWAY_TOKEN {HEADER_RULE}"),
        (
            {"GATEWAY_ADMIN_TOKEN": "fifteen letters"},
            "GATEWAY_ADMIN_TOKEN has fewer than 16 characters: it could be guessed",
        ),
        *(({"GATEWAY_CALLBACK_ALLOW": text}, METADATA_RULE) for text in METADATA),
        ({"GATEWAY_EGRESS_PROXY": "proxy:3128"}, PROXY_RULE),
        ({"GATEWAY_EGRESS_PROXY": "http://proxy"}, PROXY_RULE),
        ({"GATEWAY_EGRESS_PROXY": "https://proxy:3128"}, PROXY_RULE),
        ({"GATEWAY_EGRESS_PROXY": "http://user:pw@proxy:3128"}, PROXY_RULE),
        ({"GATEWAY_EGRESS_PROXY": "http://proxy:3128/path"}, PROXY_RULE),
        ({"GATEWAY_TENANT_TRAININGS": "0"}, "GATEWAY_TENANT_TRAININGS: Input should be greater than or equal to 1"),
        ({"GATEWAY_TENANT_ENDPOINTS": "91"}, "GATEWAY_TENANT_ENDPOINTS: Input should be less than or equal to 90"),
        (
            {"GATEWAY_PREVIOUS_MASTER_KEY": "old"},
            "GATEWAY_PREVIOUS_MASTER_KEY needs the new one beside it, in GATEWAY_MASTER_KEY",
        ),
        ({"DATABASE_URL": "gateway.db"}, "DATABASE_URL must begin with sqlite:/// or postgresql://"),
        ({"DATABASE_URL": "sqlite://gateway.db"}, "DATABASE_URL must begin with sqlite:/// or postgresql://"),
        ({"DATABASE_URL": "postgres://db/x"}, "DATABASE_URL must begin with sqlite:/// or postgresql://"),
        ({"DATABASE_URL": "mysql://db/x"}, "DATABASE_URL must begin with sqlite:/// or postgresql://"),
        (
            {"GATEWAY_TOKEN": "t"},
            "GATEWAY_TOKEN needs PHOTOGPT_API_KEY: without it callers authenticate with their own keys",
        ),
        (
            {"PHOTOGPT_API_KEY": "k", "GATEWAY_HOST": "0.0.0.0"},
            "GATEWAY_HOST=0.0.0.0 lets the network spend the money of PHOTOGPT_API_KEY: set GATEWAY_TOKEN",
        ),
        (
            {"PHOTOGPT_API_KEY": "k", "GATEWAY_HOST": "::", "GATEWAY_TOKEN": ""},
            "GATEWAY_HOST=:: lets the network spend the money of PHOTOGPT_API_KEY: set GATEWAY_TOKEN",
        ),
        (
            {"GATEWAY_PORT": "x", "GATEWAY_LOG_LEVEL": "loud"},
            (
                f"GATEWAY_PORT: {INTEGER}, unable to parse string as an integer; "
                "GATEWAY_LOG_LEVEL: Input should be 'debug', 'info', 'warning' or 'error'"
            ),
        ),
    ],
    ids=lambda value: (
        " ".join(f"{name}={text[:20]}" for name, text in value.items()) if isinstance(value, dict) else ""
    ),
)
def test_what_is_wrong_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        loaded(monkeypatch, **variables)
    assert str(wrong.value) == problem
