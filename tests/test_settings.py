"""Every setting: what it is by default, what it may be, and the one line that says what is wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from service.domain.errors import ConfigurationError
from service.settings import Settings, environment_without_settings, load_settings, unknown_variables

DEFAULTS = {
    "PHOTOGPT_BASE_URL": "https://developer.photogptai.com/api",
    "PHOTOGPT_API_KEY": None,
    "DATABASE_URL": "sqlite:///./data/gateway.db",
    "GATEWAY_MODE": "sidecar",
    "GATEWAY_HOST": "127.0.0.1",
    "GATEWAY_PORT": 8470,
    "GATEWAY_HEALTH_PORT": 8471,
    "GATEWAY_TOKEN": None,
    "GATEWAY_MASTER_KEY": None,
    "GATEWAY_POLL_INTERVAL": 300.0,
    "GATEWAY_LEASE": 60.0,
    "GATEWAY_OVERDUE_AFTER": 2100.0,
    "GATEWAY_EXPIRE_AFTER": 86400.0,
    "GATEWAY_RETRY_SCHEDULE": (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400),
    "GATEWAY_ATTEMPT_TIMEOUT": 15.0,
    "GATEWAY_UPSTREAM_TIMEOUT": 30.0,
    "GATEWAY_POLLS_IN_FLIGHT": 64,
    "GATEWAY_DELIVERIES_IN_FLIGHT": 256,
    "GATEWAY_DELIVERIES_PER_HOST": 8,
    "GATEWAY_RETENTION_DAYS": 30.0,
    "GATEWAY_POLLS_PER_SECOND": 150.0,
    "GATEWAY_POLLS_PER_KEY": 4,
    "GATEWAY_CRASH_AT": None,
    "GATEWAY_LOG_LEVEL": "info",
}
BASE_URL_RULE = "PHOTOGPT_BASE_URL must be https://HOST[:PORT]/PATH (or http://), without query or fragment"
API_KEY_RULE = "PHOTOGPT_API_KEY must be printable ASCII without blanks: it goes into a header"
SECRETS = ("PHOTOGPT_API_KEY", "GATEWAY_TOKEN", "GATEWAY_MASTER_KEY")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*DEFAULTS, *(f"{name}_FILE" for name in SECRETS), "GATEWAY_URL", *unknown_variables()]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def by_variable(settings: Settings) -> dict[str, object]:
    return {
        str(field.validation_alias.choices[0]): getattr(settings, name)  # type: ignore[union-attr]
        for name, field in Settings.model_fields.items()
    }


def test_the_defaults() -> None:
    assert by_variable(load_settings()) == DEFAULTS


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not (field.description or "").endswith(".")] == []


def test_the_schedule_is_a_row_of_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, GATEWAY_RETRY_SCHEDULE="0, 0.5 ,3")
    assert settings.schedule == (timedelta(0), timedelta(seconds=0.5), timedelta(seconds=3))


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
        ("GATEWAY_LEASE", "30.5", 30.5),
        ("GATEWAY_OVERDUE_AFTER", "1e2", 100.0),
        ("GATEWAY_EXPIRE_AFTER", "1", 1.0),
        ("GATEWAY_RETRY_SCHEDULE", "0", (0.0,)),
        ("GATEWAY_RETRY_SCHEDULE", "0,0,0", (0.0, 0.0, 0.0)),
        ("GATEWAY_RETRY_SCHEDULE", "2678400", (2678400.0,)),
        ("GATEWAY_RETRY_SCHEDULE", ",".join(["1"] * 50), (1.0,) * 50),
        ("GATEWAY_ATTEMPT_TIMEOUT", "59.9", 59.9),
        ("GATEWAY_UPSTREAM_TIMEOUT", "59.9", 59.9),
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
LEASE = "must exceed GATEWAY_UPSTREAM_TIMEOUT and GATEWAY_ATTEMPT_TIMEOUT"


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"GATEWAY_MODE": "gateway"}, "GATEWAY_MODE: Input should be 'sidecar'"),
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
        ({"PHOTOGPT_API_KEY": "a key"}, API_KEY_RULE),
        ({"PHOTOGPT_API_KEY": "schlüssel"}, API_KEY_RULE),
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


def secret_of(settings: Settings, variable: str) -> str | None:
    secret = {
        "PHOTOGPT_API_KEY": settings.photogpt_api_key,
        "GATEWAY_TOKEN": settings.token,
        "GATEWAY_MASTER_KEY": settings.master_key,
    }[variable]
    return None if secret is None else secret.get_secret_value()


class TestSecrets:
    @pytest.mark.parametrize("variable", SECRETS)
    def test_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
        settings = loaded(monkeypatch, **{"PHOTOGPT_API_KEY": "the-key", variable: "s3cret"})
        assert secret_of(settings, variable) == "s3cret"

    @pytest.mark.parametrize("content", ["s3cret", "s3cret\n", "  s3cret\r\n\n"])
    @pytest.mark.parametrize("variable", SECRETS)
    def test_come_from_a_file(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, content: str
    ) -> None:
        file = tmp_path / "secret"
        file.write_text(content)
        settings = loaded(monkeypatch, PHOTOGPT_API_KEY="the-key", **{f"{variable}_FILE": str(file)})
        assert secret_of(settings, variable) == "s3cret"
        assert unknown_variables() == []

    @pytest.mark.parametrize("variable", SECRETS)
    def test_are_never_shown(self, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
        settings = loaded(monkeypatch, **{"PHOTOGPT_API_KEY": "the-key", variable: "s3cret"})
        assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"

    def test_are_not_in_what_is_wrong(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ConfigurationError) as wrong:
            loaded(monkeypatch, GATEWAY_TOKEN="s3cret", DATABASE_URL="postgresql://app:s3cret@db/x", GATEWAY_PORT="x")
        assert "s3cret" not in str(wrong.value)

    def test_a_file_that_is_not_there_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ConfigurationError) as wrong:
            loaded(monkeypatch, GATEWAY_TOKEN_FILE="/nowhere/token")
        assert str(wrong.value) == (
            "GATEWAY_TOKEN_FILE=/nowhere/token can't be read: [Errno 2] No such file or directory: '/nowhere/token'"
        )

    def test_a_file_that_is_no_text_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "key").write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigurationError, match="GATEWAY_MASTER_KEY_FILE=key can't be read"):
            loaded(monkeypatch, GATEWAY_MASTER_KEY_FILE="key")

    def test_the_rules_hold_for_files_too(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("t")
        with pytest.raises(ConfigurationError, match="GATEWAY_TOKEN needs PHOTOGPT_API_KEY"):
            loaded(monkeypatch, GATEWAY_TOKEN_FILE="token")

    def test_nothing_but_secrets_comes_from_a_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "port").write_text("1234")
        assert loaded(monkeypatch, GATEWAY_PORT_FILE="port").port == 8470
        assert unknown_variables() == ["GATEWAY_PORT_FILE"]


class TestDotEnv:
    def test_settings_come_from_it(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text('GATEWAY_PORT=1234\nPHOTOGPT_API_KEY="from-file"\nSOMETHING_ELSE=1\n')
        settings = load_settings()
        assert (settings.port, secret_of(settings, "PHOTOGPT_API_KEY")) == (1234, "from-file")

    def test_the_environment_goes_first(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("GATEWAY_PORT=1234\nGATEWAY_HEALTH_PORT=4321\n")
        settings = loaded(monkeypatch, GATEWAY_PORT="5678")
        assert (settings.port, settings.health_port) == (5678, 4321)


def test_settings_are_not_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1


@pytest.mark.parametrize(
    ("variables", "unknown"),
    [
        ({}, []),
        ({"GATEWAY_PORT": "1", "PHOTOGPT_API_KEY": "k", "DATABASE_URL": "sqlite:///x"}, []),
        ({"GATEWAY_URL": "http://127.0.0.1:8470"}, []),
        ({"GATEWAY_TOKEN_FILE": "x", "GATEWAY_MASTER_KEY_FILE": "x", "PHOTOGPT_API_KEY_FILE": "x"}, []),
        ({"GATEWAY_PROT": "1", "PHOTOGPT_KEY": "k"}, ["GATEWAY_PROT", "PHOTOGPT_KEY"]),
        ({"GATEWAY_LEASE_FILE": "x"}, ["GATEWAY_LEASE_FILE"]),
        ({"MY_GATEWAY_PORT": "1", "DATABASE_URI": "x", "GATEWAYPORT": "1"}, []),
    ],
    ids=lambda value: " ".join(value) or "nothing",
)
def test_misspelt_variables_are_found(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], unknown: list[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert unknown_variables() == unknown


def test_a_child_process_inherits_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GATEWAY_PORT", "PHOTOGPT_API_KEY", "DATABASE_URL", "GATEWAY_ODD", "GATEWAY_TOKEN_FILE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("MY_OWN", "kept")
    inherited = environment_without_settings()
    assert inherited["MY_OWN"] == "kept"
    assert [name for name in inherited if name.startswith(("GATEWAY_", "PHOTOGPT_", "DATABASE_URL"))] == []
