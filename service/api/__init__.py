"""Inbound HTTP, `/v1`: converts and delegates. Reads may go straight to a repository, writes never do."""

import sys

# FastAPI asks of each annotation whether it is a model of pydantic 1, and loads that to ask: 1.5 MB that would stay.
# Where it is not installed FastAPI does without; None says so to whoever imports it.
sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]
