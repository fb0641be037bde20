"""Whatever schemathesis makes up from our own OpenAPI document, a real gateway answers as that document says."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.forked import ForkedChildren
from tests.acceptance.load import say
from tests.acceptance.stack import KEY, Stack
from tests.support.gateway import MASTER_KEY

MODES: dict[str, dict[str, str | None]] = {
    "sidecar": {},
    "gateway": {
        "GATEWAY_MODE": "gateway",
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_MASTER_KEY": MASTER_KEY,
        "PHOTOGPT_API_KEY": None,
        # One tenant asks for everything here.
        "GATEWAY_TENANT_REQUESTS_PER_SECOND": "1000000",
    },
}
LEFT_OUT = (
    # What a field may be is said in words, too: a URL that callbacks may go to, a secret of the right length.
    "positive_data_acceptance",
    # A sidecar's callers need no key, and to the simulated PhotoGPT every key is one of some user's.
    "ignored_auth",
    "missing_required_header",
)


@pytest.fixture
def stack(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    with ForkedChildren(tmp_path) as children:
        stack = Stack(children)
        stack.models(50)
        # Nobody listens there: no name that is made up is looked up, and no webhook leaves this machine.
        stack.start_gateway(**MODES[request.param], GATEWAY_EGRESS_PROXY="http://127.0.0.1:9")
        yield stack
        stack.close()


def schemathesis(address: str, folder: Path, seed: int) -> dict[str, Any]:
    """One run over all routes with generated requests, good and bad; its report."""
    report = folder / f"report-{seed}.json"
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("run", f"{address}/openapi.json", "--seed", str(seed), "--max-examples", "10"),
        *("--exclude-path", "/v1/events/stream"),  # it stays open; tests/api/test_events.py
        *("--phases", "examples,coverage,fuzzing", "--checks", "all", "--exclude-checks", ",".join(LEFT_OUT)),
        *("--header", f"Authorization: Bearer {KEY}", "--request-timeout", "70", "--continue-on-failure"),
        *("--report", "json", "--report-json-path", str(report), "--generation-database", "none"),
        # One worker: Python 3.11 may lose count of its stack when two threads parse source, as hypothesis does.
        *("--no-color", "--warnings", "off", "--workers", "1"),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=3600, check=False)
    assert report.exists(), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    assert (found["failures"], found["errors"], done.returncode) == ([], [], 0), done.stdout
    return found


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("stack", MODES, indirect=True)
def test_every_answer_is_as_the_document_says(stack: Stack, tmp_path: Path, campaign: pytest.Config) -> None:
    wanted, tried, seed = campaign.getoption("--inputs"), 0, 0
    assert stack.address is not None
    while tried < wanted:
        seed += 1
        tried += schemathesis(stack.address, tmp_path, seed)["test_cases"]["generated"]
    say(f"{tried} requests of schemathesis, seeds 1 to {seed}")
    assert stack.health.get("/livez").status_code == 200
    log = (stack.folder / "gateway-1.err").read_text(encoding="utf-8").splitlines()
    assert [line for line in log if '"level": "error"' in line or not line.startswith("{")] == []
