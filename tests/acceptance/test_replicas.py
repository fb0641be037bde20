"""Several replicas on one PostgreSQL: killed and frozen under load they lose nothing and do nothing twice."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.acceptance.followers import Reader, pages, stream
from tests.acceptance.history import judge_the_end, rows, wait_for_the_end
from tests.acceptance.load import Load, say, share_secret, train_request
from tests.acceptance.replicas import Replica, Replicas
from tests.acceptance.stack import FAST, Stack
from tests.support.waiting import wait_until_sync

_INTERVAL = 6.0
_LEASE = 4.0
# The lease is over before a model may be polled again, as with the defaults: what a kill cuts short is polled early.
_REAL = {
    "GATEWAY_POLL_INTERVAL": f"{_INTERVAL:g}",
    "GATEWAY_LEASE": f"{_LEASE:g}",
    "GATEWAY_UPSTREAM_TIMEOUT": "3",
    "GATEWAY_ATTEMPT_TIMEOUT": "3",
    # A list of all models would not show which of them were due.
    "GATEWAY_SWEEP": "false",
}
# Of what PhotoGPT sees; a request may be on its way for a while.
_SOONEST = timedelta(seconds=0.8 * _INTERVAL - 0.3)
_RATE = 10
_KILL_EVERY = 5.0
# Two polls: at this speed a training takes 8 s.
_MINUTES = 80


@pytest.fixture
def stack(postgres_stack: Stack) -> Stack:
    share_secret(postgres_stack)
    return postgres_stack


@pytest.mark.timeout(3600)
async def test_killed_one_after_the_other_they_lose_nothing_and_do_nothing_twice(
    stack: Stack, campaign: pytest.Config, campaign_random: random.Random
) -> None:
    kills = campaign.getoption("--replica-kills")
    replicas = Replicas(stack, 3, **_REAL)
    killed_at: list[datetime] = []
    first, second, _ = replicas.all
    with (
        Reader(stack, pages, lambda: first.address or replicas.any_address()) as of_pages,
        Reader(stack, stream, lambda: second.address or replicas.any_address()) as of_stream,
    ):
        with Load(stack, rate=_RATE, address=replicas.any_address, duration_minutes=_MINUTES) as load:
            for _ in range(kills):
                time.sleep(campaign_random.uniform(0.8, 1.2) * _KILL_EVERY)
                replica = campaign_random.choice(replicas.all)
                replica.wait()
                killed_at.append(datetime.now(UTC))
                replica.kill()
                replica.spawn()
        figures = judge_the_end(stack, load.acknowledged, crashes=kills)
        expected = [event["id"] for event in rows(stack.where, "SELECT id FROM events ORDER BY position")]
        wait_until_sync(
            lambda: min(len(of_pages.seen), len(of_stream.seen)) >= len(expected), what="the readers to have all"
        )
        for replica in replicas.all:
            replica.wait()

    early = early_polls(stack, killed_at, Counter(entry["model_id"] for entry in replicas.said("poll_outdated")))
    assert of_pages.seen == of_stream.seen == expected
    assert len(load.acknowledged) > kills, "hardly any load"
    broken = sum(count for answer, count in load.answers.items() if not answer.startswith(("409", "503")))
    say(
        f"{kills} kills of one of three replicas: {figures}; {broken} requests broken and repeated; {early} early "
        f"polls; {len(expected)} events told in order to two readers, cut {of_pages.broken + of_stream.broken} times"
    )


def early_polls(stack: Stack, killed_at: Sequence[datetime], outdated: Counter[str]) -> str:
    """How many polls came too soon after the last one of their model. Between the two lies a kill, which is an excuse
    once for each model; or the first was `outdated`, since this machine had kept its replica from working for a lease.
    """
    after_kills = after_stalls = 0
    for model, moments in readings(stack).items():
        unused = set(killed_at)
        stalls = 0
        for last, this in pairwise(moments):
            if this - last >= _SOONEST:
                continue
            kill = min((moment for moment in unused if last - timedelta(seconds=1) < moment < this), default=None)
            if kill is not None:
                unused.remove(kill)
                after_kills += 1
            else:
                stalls += 1
        assert stalls <= outdated[model], f"{model} was polled too soon: {moments}; kills: {killed_at}"
        after_stalls += stalls
    return f"{after_kills} and, of a stalled replica, {after_stalls}"


def readings(stack: Stack) -> dict[str, list[datetime]]:
    """When each model was read after its trigger."""
    found = defaultdict(list)
    triggered = set()
    for call in stack.calls("/models/[^/]+(/train)?"):
        model = call["path"].split("/")[2]
        if call["path"].endswith("/train"):
            triggered.add(model)
        elif model in triggered:
            found[model].append(datetime.fromisoformat(call["at"]))
    assert found, "nothing was polled"
    return found


@pytest.mark.timeout(3600)
async def test_what_a_frozen_replica_says_after_two_leases_is_dropped(stack: Stack, campaign: pytest.Config) -> None:
    freezes = campaign.getoption("--freezes")
    replicas = Replicas(stack, 2)
    acknowledged: dict[str, str] = {}
    late = 0
    holder, other = replicas.all
    try:
        for number in range(freezes):
            frozen = frozen_in_polls if number % 2 == 0 else frozen_in_attempts
            late += frozen(stack, holder, other, number, acknowledged)
            holder, other = other, holder
    finally:
        replicas.thaw()
    # Each late result may have been a success at the receiver.
    figures = judge_the_end(stack, acknowledged, crashes=freezes)

    assert len(rows(stack.where, "SELECT id FROM events WHERE terminal")) == len(acknowledged)
    assert late >= freezes, "hardly any was late"
    say(f"{freezes} freezes: {figures}; all of {late} late results dropped")


_MODELS = 3
# Within a timeout of 2 s; the freeze should come before the answer.
_ANSWER_AFTER = 1.7


def frozen_in_polls(stack: Stack, holder: Replica, other: Replica, number: int, acknowledged: dict[str, str]) -> int:
    """`holder` has asked PhotoGPT, and has no answer yet. Returns how many results came late, and were dropped."""
    models = stack.models(_MODELS, f"poll{number}", duration_minutes=0)
    other.freeze()
    trainings = all_accepted(stack, holder, models)
    for model in models:
        stack.break_photogpt(path=f"/models/{model}", method="GET", kind="delay", seconds=_ANSWER_AFTER)
    # One reading was before the trigger.
    wait_until_sync(
        lambda: all(len(stack.calls(f"/models/{model}")) == 2 for model in models), what="the polls", timeout=30
    )
    holder.freeze()
    held = "SELECT id FROM trainings WHERE finished_at IS NULL"
    acknowledged |= trainings
    return dropped_later(stack, holder, other, held, ("poll_outdated", "status_changed"))


def frozen_in_attempts(stack: Stack, holder: Replica, other: Replica, number: int, acknowledged: dict[str, str]) -> int:
    """`holder` has sent webhooks, and has no answer yet. Returns how many results came late, and were dropped."""
    models = stack.models(_MODELS, f"attempt{number}", duration_minutes=0)
    other.freeze()
    before = len(stack.received())
    stack.break_receiver(kind="delay", seconds=_ANSWER_AFTER, times=_MODELS)
    acknowledged |= all_accepted(stack, holder, models)
    wait_until_sync(lambda: len(stack.received()) >= before + _MODELS, what="the webhooks", timeout=30)
    holder.freeze()
    held = "SELECT training_id AS id FROM deliveries WHERE status = 'pending' AND attempts_started = 1"
    return dropped_later(stack, holder, other, held, ("attempt_outdated", "attempted"))


def dropped_later(stack: Stack, holder: Replica, other: Replica, held: str, says: tuple[str, str]) -> int:
    """`other` comes back and does what is `held`; only then, and after two leases, `holder` does, and drops it all."""
    frozen_at = time.monotonic()
    # What this machine was too slow for has ended before the freeze.
    late = [row["id"] for row in rows(stack.where, held)]
    other.thaw()
    wait_for_the_end(stack)
    time.sleep(max(0.0, 2 * float(FAST["GATEWAY_LEASE"]) - (time.monotonic() - frozen_at)))
    holder.thaw()
    dropped, stored = says
    for training_id in late:
        says_so = partial(told_of, holder, dropped, training_id)
        wait_until_sync(says_so, what=f"{dropped} of {training_id}", timeout=30)
        assert not told_of(holder, stored, training_id)
    return len(late)


def all_accepted(stack: Stack, replica: Replica, models: Sequence[str]) -> dict[str, str]:
    """The trainings, by model."""
    with ThreadPoolExecutor(_MODELS) as callers:
        return dict(zip(models, callers.map(lambda model: accepted(stack, replica, model), models), strict=True))


def accepted(stack: Stack, replica: Replica, model: str) -> str:
    answer = httpx.post(
        f"{replica.address}/v1/trainings", json=train_request(stack, model), timeout=30, trust_env=False
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def told_of(replica: Replica, event: str, training_id: str) -> list[dict[str, Any]]:
    return [entry for entry in replica.said(event) if entry["training_id"] == training_id]


async def test_a_stream_at_one_replica_hears_of_what_another_did(stack: Stack) -> None:
    api, *_ = Replicas(stack, 1, GATEWAY_ROLE="api").all
    Replicas(stack, 1, GATEWAY_ROLE="worker")
    with Reader(stack, stream, lambda: api.address) as reader:
        [model] = stack.models(1)
        training_id = accepted(stack, api, model)
        # Started, and ready.
        wait_until_sync(lambda: len(reader.seen) == 2, what="both events on the stream", timeout=30)
    events = rows(stack.where, "SELECT id, training_id, type FROM events ORDER BY position")
    assert [event["id"] for event in events] == reader.seen
    assert [(event["training_id"], event["type"]) for event in events] == [
        (training_id, "training.started"),
        (training_id, "training.ready"),
    ]


async def test_each_has_its_share_of_the_polls_and_none_is_polled_twice(stack: Stack) -> None:
    # Nothing is due by itself, and no lease ends, however slow this machine is.
    settings = {
        "GATEWAY_POLL_INTERVAL": "3600",
        "GATEWAY_LEASE": "600",
        "GATEWAY_POLLS_PER_SECOND": "5",
        "GATEWAY_SWEEP": "false",
    }
    replicas = Replicas(stack, 2, **settings, GATEWAY_LOG_LEVEL="debug")
    models = stack.models(40, duration_minutes=1_000_000)
    for model in models:
        accepted(stack, replicas.all[0], model)
    begun = datetime.now(UTC)
    rows(stack.where, f"UPDATE trainings SET due_at = '{begun.isoformat()}' RETURNING id")
    wait_until_sync(lambda: len(replicas.said("polled")) >= len(models), what="all to be polled", timeout=60)

    found = readings(stack)
    assert {model: len(moments) for model, moments in found.items()} == dict.fromkeys(models, 1)
    assert all(replica.said("polled") for replica in replicas.all)
    # The bucket of each begins with one.
    fastest = timedelta(seconds=(len(models) - 2) / (5 + 5))
    assert max(moment for [moment] in found.values()) - begun >= fastest
