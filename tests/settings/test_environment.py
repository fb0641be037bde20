"""Where settings come from: the environment, `.env`, and files for secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from service.domain.errors import ConfigurationError
from service.environment import environment_without_settings, load_settings, unknown_variables
from service.settings import SECRETS, Settings
from tests.settings.loading import by_variable, loaded


def secret_of(settings: Settings, variable: str) -> str | None:
    secret = by_variable(settings)[variable]
    assert secret is None or isinstance(secret, SecretStr)
    return None if secret is None else secret.get_secret_value()


# What some of the secrets need beside them.
BESIDE = {"PHOTOGPT_API_KEY": "the-key", "GATEWAY_MASTER_KEY": "the-master-key"}


class TestSecrets:
    @pytest.mark.parametrize("variable", sorted(SECRETS))
    def test_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
        settings = loaded(monkeypatch, **{**BESIDE, variable: "s3cret-s3cret-s3cret"})
        assert secret_of(settings, variable) == "s3cret-s3cret-s3cret"

    @pytest.mark.parametrize(
        "content", ["s3cret-s3cret-s3cret", "s3cret-s3cret-s3cret\n", "  s3cret-s3cret-s3cret\r\n\n"]
    )
    @pytest.mark.parametrize("variable", sorted(SECRETS))
    def test_come_from_a_file(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, content: str
    ) -> None:
        file = tmp_path / "secret"
        file.write_text(content)
        settings = loaded(monkeypatch, **{**BESIDE, f"{variable}_FILE": str(file)})
        assert secret_of(settings, variable) == "s3cret-s3cret-s3cret"
        assert unknown_variables() == []

    @pytest.mark.parametrize("variable", sorted(SECRETS))
    def test_are_never_shown(self, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
        settings = loaded(monkeypatch, **{**BESIDE, variable: "s3cret-s3cret-s3cret"})
        assert (
            "s3cret-s3cret-s3cret"
            not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
        )

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

    def test_a_file_may_be_named_in_dotenv(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("s3cret\n")
        (tmp_path / ".env").write_text("PHOTOGPT_API_KEY_FILE=key\n")
        assert secret_of(load_settings(), "PHOTOGPT_API_KEY") == "s3cret"

    def test_the_rules_hold_for_files_too(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("t")
        with pytest.raises(ConfigurationError, match="GATEWAY_TOKEN needs PHOTOGPT_API_KEY"):
            loaded(monkeypatch, GATEWAY_TOKEN_FILE="token")

    def test_the_address_of_the_database_may_stand_in_one_since_it_has_a_password(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "url").write_text("postgresql://app:s3cret@db/x\n")
        settings = loaded(monkeypatch, DATABASE_URL_FILE="url")
        assert settings.database_url == "postgresql://app:s3cret@db/x"
        assert "DATABASE_URL_FILE" not in environment_without_settings()

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
    for name in ("GATEWAY_PORT", "PHOTOGPT_API_KEY", "DATABASE_URL", "POLL_SCHEDULE", "GATEWAY_TOKEN_FILE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("MY_OWN", "kept")
    inherited = environment_without_settings()
    assert inherited["MY_OWN"] == "kept"
    assert [name for name in inherited if name.startswith(("GATEWAY_", "PHOTOGPT_", "DATABASE_URL", "POLL_"))] == []
