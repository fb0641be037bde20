"""Headless Chromium, as it is found on this machine; nothing is downloaded for it."""

from __future__ import annotations

import shutil

from tests.support.node import miss

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever a page asks for elsewhere, it asks in vain.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
]


def chromium() -> str:
    """Its path; skips the test where there is none, which in CI is a failure."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        miss("Chromium is not installed: nothing to look at pages with")
    return found
