import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.image.without_symbols import cut


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A compiled module as its wheel brings it, with names for debuggers."""
    found = importlib.util.find_spec("_brotli")
    assert found is not None
    assert found.origin is not None
    return Path(shutil.copy(found.origin, tmp_path))


def test_a_compiled_module_does_without_what_is_cut_off(module: Path) -> None:
    before = module.stat().st_size
    spared = cut(module)
    assert spared > before / 10
    assert module.stat().st_size == before - spared
    # In a process of its own: two copies of one compiled module in one process are another test.
    code = "import _brotli; assert _brotli.__file__.startswith('MODULE'); _brotli.Compressor().process(b'text')"
    code = code.replace("MODULE", str(module.parent))
    subprocess.run([sys.executable, "-c", code], cwd=module.parent, check=True, timeout=30)


def test_what_was_cut_once_is_left_alone(module: Path) -> None:
    cut(module)
    content = module.read_bytes()
    assert cut(module) == 0
    assert module.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh", b"\x7fELF\x01\x01 32 bits"])
def test_other_files_are_left_alone(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "libsomething.so"
    file.write_bytes(content)
    assert cut(file) == 0
    assert file.read_bytes() == content
