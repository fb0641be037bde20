import re
from typing import Any

from service.settings import IN_FILES
from tests.deploy.reading import DEPLOY, defaults

NAMED = dict(re.findall(r"^#? ?([A-Z_]+)=(.*)$", (DEPLOY / "env.example").read_text(), flags=re.MULTILINE))
# Nobody who runs a gateway should come upon these.
FOR_TESTS = {"GATEWAY_CRASH_AT"}


def as_text(default: Any) -> str:
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_every_setting_is_named_with_its_default() -> None:
    named = {name: value for name, value in NAMED.items() if not name.endswith("_FILE")}
    assert named == {name: as_text(default) for name, default in defaults().items() if name not in FOR_TESTS}


def test_what_may_stand_in_a_file_is_named_so_too() -> None:
    assert {name.removesuffix("_FILE") for name in NAMED if name.endswith("_FILE")} == IN_FILES


def test_it_changes_nothing_until_a_line_is_uncommented() -> None:
    assert [line for line in (DEPLOY / "env.example").read_text().splitlines() if line and line[0] != "#"] == []
