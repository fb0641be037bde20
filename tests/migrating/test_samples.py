"""What docs/migrating.md shows before and after: the loop ends with the model, and its successors with a webhook."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.stack import KEY, Stack
from tests.migrating.samples import SAMPLES, run
from tests.receivers.running import Receiver
from tests.support.node import require_npm_verifier
from tests.support.waiting import wait_until_sync

RECEIVER = {".py": "fastapi_receiver.py", ".mjs": "express_receiver.mjs"}


@pytest.mark.parametrize("base", ["direct", "gateway"])
@pytest.mark.parametrize("name", ["before.py", "before.mjs"])
def test_the_loop_runs_as_it_always_did(stack: Stack, tmp_path: Path, name: str, base: str) -> None:
    [model] = stack.models(1, f"loop-{base}-{Path(name).suffix[1:]}")
    base_url = {"direct": stack.photogpt.first_line(), "gateway": f"{stack.address}/api"}[base]
    looped = run(name, tmp_path, model, PHOTOGPT_BASE_URL=base_url, PHOTOGPT_API_KEY=KEY)
    assert looped.printed == ["ready"]
    assert len(looped.answers) > 3
    assert stack.triggers()[model] == 1


@pytest.mark.parametrize("name", ["after_api.py", "after_api.mjs", "after_v1.py", "after_v1.mjs"])
def test_without_the_loop_a_receiver_to_copy_is_told(stack: Stack, tmp_path: Path, name: str) -> None:
    [model] = stack.models(1, Path(name).stem + Path(name).suffix[1:])
    if name.endswith(".mjs"):
        require_npm_verifier()
    secret = stack.api.get("/v1/signing-secret").raise_for_status().json()["secret"]
    receiver = Receiver(RECEIVER[Path(name).suffix], tmp_path, secret=secret)
    try:
        asked = run(
            name,
            tmp_path,
            model,
            PHOTOGPT_BASE_URL=f"{stack.address}/api",
            GATEWAY_URL=str(stack.address),
            CALLBACK_URL=receiver.hook,
            PHOTOGPT_API_KEY=KEY,
        )
        [training_id] = asked.printed
        assert len(asked.answers) == 1
        wait_until_sync(receiver.handled, what=f"the receiver handled the end of {training_id}", timeout=30)
        [handled] = receiver.handled()
        assert handled.split()[:2] == ["training.ready", training_id]
    finally:
        receiver.end()
    assert stack.api.get(f"/v1/trainings/{training_id}").json()["model_id"] == model
    assert stack.triggers()[model] == 1


def test_every_sample_is_run() -> None:
    stems = {"before", "after_api", "after_v1", "photogpt_flow"}
    assert {path.name for path in SAMPLES.iterdir()} == {f"{stem}{end}" for stem in stems for end in (".py", ".mjs")}
