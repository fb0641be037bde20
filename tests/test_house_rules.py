"""What the import contracts and the linter don't see: sizes and names."""

import ast
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]
MODULES = sorted(path for folder in ("service", "bench") for path in (PROJECT / folder).rglob("*.py"))
# Names that say nothing about what is inside, so that everything ends up there.
NAMES_WITHOUT_MEANING = {
    "base", "common", "core", "helper", "helpers", "manager", "managers", "misc", "util", "utils",
}  # fmt: skip


def test_no_file_is_longer_than_300_lines() -> None:
    assert [str(path) for path in MODULES if len(path.read_text().splitlines()) > 300] == []


def test_no_function_is_longer_than_60_lines() -> None:
    written_by_hand = [path for path in MODULES if "versions" not in path.parts]
    assert [name for path in written_by_hand for name, lines in functions(path) if lines > 60] == []


def test_every_name_says_something() -> None:
    named = [path.parent if path.name == "__init__.py" else path for path in MODULES]
    assert [str(path) for path in named if path.stem in NAMES_WITHOUT_MEANING] == []


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield f"{path}: {node.name}", node.end_lineno - node.lineno + 1
