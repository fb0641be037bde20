"""Reads what is in deploy/ and in the Dockerfile, and says which settings there are."""

import shlex
import tomllib
from pathlib import Path
from typing import Any

import yaml
from pydantic import AliasChoices

from service.settings import IN_FILES, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def defaults() -> dict[str, Any]:
    """The default of each setting, by its environment variable."""
    found: dict[str, Any] = {}
    for setting in Settings.model_fields.values():
        assert isinstance(setting.validation_alias, AliasChoices)
        found[str(setting.validation_alias.choices[0])] = setting.default
    return found


def known_variables() -> set[str]:
    return {*defaults(), *(f"{name}_FILE" for name in IN_FILES)}


def load_yaml(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


class Dockerfile:
    """`instructions` are pairs of an upper-case word and its arguments; `image` are those of the last stage."""

    def __init__(self) -> None:
        lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
        text = "\n".join(lines).replace("\\\n", "")
        self.instructions: list[tuple[str, str]] = [
            (word.upper(), arguments.strip())
            for word, _, arguments in (line.partition(" ") for line in text.split("\n"))
        ]
        last = max(number for number, (word, _) in enumerate(self.instructions) if word == "FROM")
        self.image = self.instructions[last:]

    def all(self, word: str) -> list[str]:
        return [arguments for found, arguments in self.instructions if found == word]

    def last(self, word: str) -> str:
        """The last instruction of this kind in the last stage: the one that holds."""
        return [arguments for found, arguments in self.image if found == word][-1]

    def pairs(self, word: str) -> dict[str, str]:
        """NAME=value of every ENV or LABEL in the last stage."""
        given = [part for found, arguments in self.image if found == word for part in shlex.split(arguments)]
        return dict(part.split("=", 1) for part in given)
