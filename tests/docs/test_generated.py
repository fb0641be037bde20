"""What is generated in docs/ is what the code would generate now, and nothing is left out of it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from service.settings import Settings, rules
from service.settings.groups import GROUPS, variables
from tests.docs.generated import REGIONS
from tests.docs.pages import page

_VARIABLE = re.compile(r"\b(?:GATEWAY|PHOTOGPT|DATABASE|POLL)_[A-Z_]+[A-Z]\b")


@pytest.mark.parametrize(("path", "name"), REGIONS, ids=lambda value: getattr(value, "name", value))
def test_a_generated_page_is_fresh(path: Path, name: str) -> None:
    assert page(path).region(name) == f"{REGIONS[path, name]()}\n", "run `make docs`"


def test_every_setting_is_in_one_group() -> None:
    grouped = [variable for group in GROUPS for variable in group.variables]
    assert sorted(grouped) == sorted(variables())
    assert len(grouped) == len(Settings.model_fields)


def test_what_has_to_fit_together_is_told() -> None:
    """Each rule that names several settings has a note that names them, too."""
    notes = [set(_VARIABLE.findall(note)) for group in GROUPS for note in group.together]
    untold = [named for named in ruled_together() if not any(named <= note for note in notes)]
    assert untold == []


def ruled_together() -> list[set[str]]:
    """The settings that are named in one message of `rules`."""
    tree = ast.parse(Path(rules.__file__).read_text(encoding="utf-8"))
    messages = [ast.unparse(node.value) for node in ast.walk(tree) if isinstance(node, ast.Yield) and node.value]
    found = [set(_VARIABLE.findall(message)) for message in messages]
    together = [named for named in found if len(named) > 1]
    assert len(together) > 5
    return together
