import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_make_alone_lists_every_target_with_a_description() -> None:
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    # Not from within `make test`, whose flags would be inherited.
    command = ["env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", "make"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    listed = re.findall(r"^  make ([a-z-]+) +\S", printed, flags=re.MULTILINE)
    assert "test" in targets
    assert listed == targets
