from pathlib import Path

import pytest

from service.environment import unknown_variables
from service.settings import IN_FILES
from tests.settings.loading import DEFAULTS


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*DEFAULTS, *(f"{name}_FILE" for name in IN_FILES), "GATEWAY_URL", *unknown_variables()]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
