"""`make planted-bugs` plants bugs in the code as it is: each must still find its place, and its tests."""

from pathlib import Path

import pytest

from tests.planted_bugs import BUGS, Bug

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_it_can_be_planted(bug: Bug) -> None:
    assert (ROOT / bug.file).read_text(encoding="utf-8").count(bug.before) == 1
    assert bug.before != bug.after
    assert [name for name in bug.tests if not (ROOT / name).is_file()] == []
