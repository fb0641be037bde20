"""`train` and `trainings`: start one, see how it goes, wait for its end, stop watching it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from service.cli.client import (
    DEFAULT_GATEWAY,
    AsJson,
    Credential,
    Cursor,
    Gateway,
    GatewayClient,
    Limit,
    Training,
    clock_time,
    in_path,
    only_own_options,
    print_page,
    to_the_minute,
)
from service.cli.deliveries import print_attempts
from service.cli.examples import USING, examples
from service.cli.terminal import CommandFailed, Unreachable, err, out, print_fields, print_json
from service.domain.training import Status

_WATCH_SECONDS = 1.0
# How long a gateway may be away, for its restart, while somebody waits.
_PATIENCE_SECONDS = 60.0
_COLUMNS = ("training", "model", "status", "triggered", "next poll", "last delivery problem")

app = typer.Typer(name="trainings")


def register(parent: typer.Typer) -> None:
    parent.command(
        rich_help_panel=USING,
        epilog=examples(
            "photogpt-webhooks train 0195f6a2-7c1e-7d3a-9b52-3f1c2a9d8e47 --callback https://example.com/hook",
            "photogpt-webhooks train 0195f6a2-7c1e-7d3a-9b52-3f1c2a9d8e47 --wait",
        ),
    )(train)
    parent.add_typer(app, rich_help_panel=USING)


def train(
    model_id: Annotated[str, typer.Argument(metavar="MODEL_ID", help="The PhotoGPT model to train.")],
    callback: Annotated[str | None, typer.Option(metavar="URL", help="URL that the webhook is POSTed to.")] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help='JSON object that comes back, such as {"user": "42"}.')
    ] = None,
    queue: Annotated[bool, typer.Option("--queue", help="Let it wait when PhotoGPT has no room for it.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the end, with a progress bar.")] = False,
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """Train a model; exit 0 once it is accepted, with --wait once it is ready."""
    client = GatewayClient(gateway, key)
    training = start_training(client, model_id, callback, metadata, queue=queue)
    if not as_json:
        place = f" as number {training['queue_position']}" if training["queue_position"] else ""
        out.print(f"{training['id']}  {training['status']}{place}  model {training['model_id']}", markup=False)
    if wait:
        training = wait_for_end(client, training)
    if as_json:
        print_json(training)
    if wait:
        _fail_unless_ready(training)


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "photogpt-webhooks trainings --status training",
        "photogpt-webhooks trainings show trn_01m82mdy2d6pjqezagvannmaxw",
    ),
)
def trainings(
    ctx: typer.Context,
    status: Annotated[Status | None, typer.Option(help="Only trainings in this status.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL_ID", help="Only trainings of this model.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """List trainings, newest first, or look at one."""
    if ctx.invoked_subcommand is not None:
        only_own_options(ctx)
        return
    asked = {"limit": limit, "cursor": cursor, "status": status, "model_id": model}
    print_page(GatewayClient(gateway, key).list("/v1/trainings", asked), _COLUMNS, _row, as_json=as_json)


@app.command(epilog=examples("photogpt-webhooks trainings show trn_01m82mdy2d6pjqezagvannmaxw"))
def show(
    training_id: Training, gateway: Gateway = DEFAULT_GATEWAY, key: Credential = None, as_json: AsJson = False
) -> None:
    """Show a training with its callbacks, its deliveries, and every attempt of them."""
    client = GatewayClient(gateway, key)
    training = _get(client, training_id)
    if as_json:
        print_json(training)
        return
    deliveries = client.list("/v1/deliveries", {"training_id": training["id"], "limit": 100})["data"]
    _print(training)
    for delivery in reversed(deliveries):
        out.print(f"\n  {delivery['id']}  {delivery['event_type']}  {delivery['status']}", markup=False)
        print_attempts(delivery, indent=4)


@app.command(epilog=examples("photogpt-webhooks trainings wait trn_01m82mdy2d6pjqezagvannmaxw && ./generate.sh"))
def wait(
    training_id: Training, gateway: Gateway = DEFAULT_GATEWAY, key: Credential = None, as_json: AsJson = False
) -> None:
    """Stay until a training ends, with a progress bar; exit 0 if it is ready."""
    client = GatewayClient(gateway, key)
    training = wait_for_end(client, _get(client, training_id))
    if as_json:
        print_json(training)
    _fail_unless_ready(training)


@app.command(epilog=examples("photogpt-webhooks trainings cancel trn_01m82mdy2d6pjqezagvannmaxw"))
def cancel(
    training_id: Training, gateway: Gateway = DEFAULT_GATEWAY, key: Credential = None, as_json: AsJson = False
) -> None:
    """Stop watching a training. PhotoGPT offers no cancel: what runs there goes on, and is paid for."""
    training = GatewayClient(gateway, key).call("DELETE", f"/v1/trainings/{in_path(training_id)}")
    if as_json:
        print_json(training)
    else:
        out.print(f"{training['id']}  {training['status']}  model {training['model_id']}", markup=False)


def start_training(
    client: GatewayClient,
    model_id: str,
    callback: str | None,
    metadata: str | None = None,
    *,
    queue: bool = False,
) -> dict[str, Any]:
    """POST the train request and return the training."""
    body: dict[str, Any] = {"model_id": model_id}
    if queue:
        body["on_capacity"] = "queue"
    if callback:
        body["callback_url"] = callback
    if metadata:
        try:
            body["metadata"] = json.loads(metadata)
        except ValueError as error:
            raise typer.BadParameter(f"that is not JSON: {error}", param_hint="--metadata") from error
    training: dict[str, Any] = client.call("POST", "/v1/trainings", json=body)
    return training


def wait_for_end(client: GatewayClient, training: dict[str, Any], *, speed: float = 1.0) -> dict[str, Any]:
    """Watch until the training ends, over a restart of the gateway too.

    `speed`: how many times faster than usual it runs, for the demo.
    """
    from service.cli.progress import TrainingProgress

    pause, away = _WATCH_SECONDS / min(speed, 5), 0.0
    with TrainingProgress(err.console, speed=speed) as progress:
        while training["finished_at"] is None:
            progress.show(training)
            time.sleep(pause)  # noqa: TID251  # a person at a terminal waits in real time
            try:
                training, away = client.call("GET", training["urls"]["self"]), 0.0
            except Unreachable:
                away += pause
                if away > _PATIENCE_SECONDS:
                    raise
        progress.show(training)
    return training


def _fail_unless_ready(training: Mapping[str, Any]) -> None:
    if training["status"] != Status.READY:
        raise CommandFailed(f"The training ended as {training['status']}. {_failure(training)}".strip())


def _get(client: GatewayClient, training_id: str) -> dict[str, Any]:
    training: dict[str, Any] = client.call("GET", f"/v1/trainings/{in_path(training_id)}")
    return training


def _status(training: Mapping[str, Any]) -> str:
    return " ".join([training["status"], *(flag for flag in ("overdue", "suspended") if training[flag])])


def _failure(training: Mapping[str, Any]) -> str:
    failure = training["failure"]
    return "" if failure is None else failure["message"] or failure["code"]


def _row(training: Mapping[str, Any]) -> Sequence[str]:
    problem = next((c["last_problem"] for c in training["callbacks"] if c["last_problem"]), "")
    times = (to_the_minute(training["triggered_at"]), to_the_minute(training["next_poll_at"]))
    return training["id"], training["model_id"], _status(training), *times, problem


def _print(training: Mapping[str, Any]) -> None:
    out.print(f"{training['id']}  {_status(training)}", markup=False)
    times = ("created_at", "triggered_at", "last_polled_at", "next_poll_at", "estimated_ready_at", "finished_at")
    print_fields(
        [
            ("model", training["model_id"]),
            ("PhotoGPT says", training["upstream_status"] or ""),
            ("place in the queue", str(training["queue_position"] or "")),
            *((name.removesuffix("_at").replace("_", " "), clock_time(training[name])) for name in times),
            ("failure", _failure(training)),
            ("metadata", json.dumps(training["metadata"], ensure_ascii=False) if training["metadata"] else ""),
        ]
    )
    for callback in training["callbacks"]:
        out.print(f"  callback {callback['url']}  {callback['state']}", markup=False)
        print_fields([("hears", ", ".join(callback["events"])), ("problem", callback["last_problem"] or "")], indent=4)
