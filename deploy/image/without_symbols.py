"""Cuts what only a debugger reads off the compiled modules below a folder: a third of the installed packages' size.

Symbols and debug information stand behind the last byte that the loader maps. A module without them is what it was to
Python; a native profiler sees addresses instead of names. Needs no `strip`, which a slim base does not have.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

_MAGIC_64_BIT_LITTLE_ENDIAN = b"\x7fELF\x02\x01"
_PROGRAM_HEADERS_AT = 0x20
_SECTION_HEADERS_AT = 0x28
_PROGRAM_HEADER_SIZE_AND_NUMBER = 0x36
_SECTION_NUMBER_AND_NAMES = 0x3C


def cut(path: Path) -> int:
    """Bytes that were cut off; 0 for what is no such file, or has nothing behind what is mapped."""
    content = bytearray(path.read_bytes())
    if not content.startswith(_MAGIC_64_BIT_LITTLE_ENDIAN):
        return 0
    (first,) = struct.unpack_from("<Q", content, _PROGRAM_HEADERS_AT)
    size, number = struct.unpack_from("<HH", content, _PROGRAM_HEADER_SIZE_AND_NUMBER)
    headers = range(first, first + size * number, size)
    end = max(_end_of_segment(content, header) for header in headers)
    (sections,) = struct.unpack_from("<Q", content, _SECTION_HEADERS_AT)
    if end >= len(content) or sections < end:
        return 0
    struct.pack_into("<Q", content, _SECTION_HEADERS_AT, 0)
    struct.pack_into("<HH", content, _SECTION_NUMBER_AND_NAMES, 0, 0)
    path.write_bytes(content[:end])
    return len(content) - end


def _end_of_segment(content: bytearray, header: int) -> int:
    (start,) = struct.unpack_from("<Q", content, header + 0x08)
    (length,) = struct.unpack_from("<Q", content, header + 0x20)
    return int(start + length)


def main(folder: Path) -> None:
    """Print what came of it, for the log of the build."""
    modules = sorted(path for path in folder.rglob("*.so*") if not path.is_symlink())
    spared = sum(cut(path) for path in modules)
    sys.stdout.write(f"{spared / 1e6:.1f} MB of symbols cut off {len(modules)} compiled modules\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
