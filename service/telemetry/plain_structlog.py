"""structlog without rich, which it would load for tracebacks that we never print: 3 MB of a sidecar's memory.

The command line has rich of its own.
"""

from __future__ import annotations

import sys

_hidden = "rich" not in sys.modules
if _hidden:
    sys.modules["rich"] = None  # type: ignore[assignment]  # as Python itself notes what can't be imported

import structlog  # noqa: E402

if _hidden:
    del sys.modules["rich"]

__all__ = ["structlog"]
