"""The locks work behind any mirror, name every file by its hash, and fit `pyproject.toml` and each other."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GROUPS: dict[str, list[Any]] = PYPROJECT["dependency-groups"]


def pinned(lock: str) -> dict[str, str]:
    """Name and version (with marker) of every entry."""
    text = (ROOT / "requirements" / lock).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+(?: ; .+?)?) \\$", text, flags=re.MULTILINE))


def named(requirements: list[Any]) -> list[Requirement]:
    return [Requirement(requirement) for requirement in requirements if isinstance(requirement, str)]


@pytest.mark.parametrize("path", [*LOCKS, ROOT / "tests/node/package-lock.json"], ids=lambda path: path.name)
def test_no_lock_holds_an_address(path: Path) -> None:
    assert "://" not in path.read_text()


def test_the_npm_lock_stays_without_addresses() -> None:
    assert "omit-lockfile-registry-resolved=true" in (ROOT / "tests/node/.npmrc").read_text().splitlines()


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_entry_has_hashes(path: Path) -> None:
    entries = re.split(r"^(?=\S)", path.read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) == len(pinned(path.name))
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize(("lower", "upper"), [("runtime.txt", "simulator.txt"), ("simulator.txt", "dev.txt")])
def test_each_set_holds_the_lower_one(lower: str, upper: str) -> None:
    assert pinned(lower).items() <= pinned(upper).items()


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("runtime.txt", PYPROJECT["project"]["dependencies"]),
        ("simulator.txt", PYPROJECT["project"]["optional-dependencies"]["simulator"]),
        ("simulator.txt", GROUPS["build"]),
        ("dev.txt", GROUPS["dev"]),
        ("audit.txt", GROUPS["audit"]),
    ],
)
def test_the_locks_fit_what_is_asked_for(lock: str, requirements: list[Any]) -> None:
    versions = {name: entry.split(" ; ")[0] for name, entry in pinned(lock).items()}
    unlocked = [
        str(requirement)
        for requirement in named(requirements)
        if not requirement.specifier.contains(versions.get(canonicalize_name(requirement.name), "0"))
    ]
    assert unlocked == [], "run `make lock`"
