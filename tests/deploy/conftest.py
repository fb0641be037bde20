"""What the gateway makes of an environment that deploy/ would give it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from service.environment import load_settings
from service.settings import Settings
from tests.deploy.reading import known_variables


@pytest.fixture
def started_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Mapping[str, str]], Settings]:
    """The settings of a gateway that has this environment and no other. Files of secrets are put in place."""
    monkeypatch.chdir(tmp_path)  # away from a developer's .env

    def start(environment: Mapping[str, str]) -> Settings:
        for name in known_variables():
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, str(_secret_file(tmp_path, name) if name.endswith("_FILE") else value))
        return load_settings()

    return start


def _secret_file(folder: Path, name: str) -> Path:
    path = folder / name
    content = (
        "postgresql://gateway:a-secret@db.example/gateway"
        if name == "DATABASE_URL_FILE"
        else "a-secret-of-16-characters"
    )
    path.write_text(content + "\n", encoding="utf-8")
    return path
