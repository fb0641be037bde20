"""The import contracts of `pyproject.toml` hold, and each of them bites."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

# One import that breaks it, for each contract that gives a library its one home.
STRAY_IMPORTS = {
    "web": "fastapi",
    "http": "httpx",
    "sql": "sqlalchemy",
    "apscheduler": "apscheduler",
    "terminal": "typer",
    "environment": "pydantic_settings",
    "logging": "structlog",
    "metrics": "prometheus_client",
    "pages": "jinja2",
    "tracing": "opentelemetry",
    "brotli": "brotli",
    "cryptography": "cryptography",
    "standardwebhooks": "standardwebhooks",
}


def lint_imports(folder: Path) -> tuple[set[str], str]:
    """The ids of the broken contracts, and what the linter printed."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    printed = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True).stdout
    assert "\nContracts: " in printed, printed
    return {contract["id"] for contract in CONTRACTS if f"\n{contract['name']} BROKEN" in printed}, printed


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "service", tmp_path / "service", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def plant(tree: Path, module: str, line: str) -> None:
    with (tree / "service" / module).open("r+") as file:
        assert file.read(), f"service/{module} is gone: plant the violation elsewhere"
        file.write(f"\n{line}\n")


def test_every_contract_holds() -> None:
    broken, printed = lint_imports(ROOT)
    assert broken == set(), printed


@pytest.mark.parametrize(
    ("contract", "module", "line", "reported"),
    [
        ("layers", "trainings/poller.py", "import service.webhooks.sender", "poller -> service.webhooks.sender"),
        ("layers", "storage/tables.py", "import service.trainings.intake", "tables -> service.trainings.intake"),
        ("layers", "simulator/__init__.py", "import service.domain.training", "simulator -> service.domain.training"),
        ("domain", "domain/training.py", "import time", "training -> time"),
        ("simulator", "app.py", "import service.simulator", "app -> service.simulator"),
    ],
)
def test_a_forbidden_import_breaks_its_contract(
    tree: Path, contract: str, module: str, line: str, reported: str
) -> None:
    plant(tree, module, line)
    broken, printed = lint_imports(tree)
    assert contract in broken
    assert reported in printed


def test_a_new_module_has_to_be_given_its_layer(tree: Path) -> None:
    (tree / "service/newcomer.py").touch()
    broken, printed = lint_imports(tree)
    assert "layers" in broken
    assert "- service.newcomer" in printed


def test_each_library_stays_in_its_home(tree: Path) -> None:
    for library in STRAY_IMPORTS.values():
        plant(tree, "trainings/poller.py", f"import {library}")
    broken, printed = lint_imports(tree)
    assert broken >= STRAY_IMPORTS.keys()
    assert [library for library in STRAY_IMPORTS.values() if f"poller -> {library} " not in printed] == []


def test_each_contract_is_tried_above() -> None:
    assert {contract["id"] for contract in CONTRACTS} == {"layers", "domain", "simulator", *STRAY_IMPORTS}
