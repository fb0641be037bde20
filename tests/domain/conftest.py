from __future__ import annotations

from hypothesis import settings

# A machine that is busy with something else is no defect: no example has a deadline of its own.
settings.register_profile("domain", deadline=None, max_examples=200)
settings.load_profile("domain")
