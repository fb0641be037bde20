"""Commands that talk to a running gateway over its API: train, trainings, deliveries."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import typer
from rich.table import Table

from service.cli.progress import TrainingProgress
from service.cli.terminal import CommandFailed, err, out, print_json

_WATCH_SECONDS = 1.0
_TIMEOUT_SECONDS = 75.0  # a train request waits for two calls to PhotoGPT, 30 s each

Gateway = Annotated[
    str, typer.Option("--gateway", envvar="GATEWAY_URL", help="Base URL of the gateway.", show_envvar=True)
]
Credential = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar=["GATEWAY_TOKEN", "PHOTOGPT_API_KEY"],
        help="What to authenticate with; better in the environment than on the command line.",
        show_envvar=True,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]
Limit = Annotated[int, typer.Option(min=1, max=100, help="At most so many, the newest.")]

_DEFAULT_GATEWAY = "http://127.0.0.1:8470"


def register(app: typer.Typer) -> None:
    for command in (train, trainings, deliveries):
        app.command()(command)


@dataclass(frozen=True, slots=True)
class GatewayClient:
    base_url: str
    credential: str | None

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The JSON answer; CommandFailed with the gateway's own words otherwise."""
        headers = {"authorization": f"Bearer {self.credential}"} if self.credential else {}
        try:
            with httpx.Client(trust_env=False, timeout=_TIMEOUT_SECONDS, headers=headers) as client:
                response = client.request(method, self.base_url.rstrip("/") + path, **options)
                content = response.json()
        except httpx.HTTPError as error:
            raise CommandFailed(
                f"No answer from the gateway at {self.base_url} ({error}): is `photogpt-webhooks serve` running?"
            ) from error
        except ValueError as error:
            raise CommandFailed(f"{self.base_url} does not answer like a gateway.") from error
        if response.is_error:
            raise CommandFailed(f"{content.get('detail', 'no detail')} ({response.status_code} {content.get('code')})")
        return content


def train(
    model_id: Annotated[str, typer.Argument(help="The PhotoGPT model to train.")],
    callback: Annotated[str | None, typer.Option(help="URL that the webhook is POSTed to.")] = None,
    metadata: Annotated[str | None, typer.Option(help='JSON object that comes back, such as {"user": "42"}.')] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the end, with a progress bar.")] = False,
    gateway: Gateway = _DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """Train a model; exit 0 once it is accepted, with --wait once it is ready."""
    client = GatewayClient(gateway, key)
    training = start_training(client, model_id, callback, metadata)
    if not as_json:
        out.print(f"{training['id']}  {training['status']}  model {training['model_id']}")
    if wait:
        training = wait_for_end(client, training)
    if as_json:
        print_json(training)
    if wait and training["status"] != "ready":
        failure = training["failure"] or {"message": ""}
        raise CommandFailed(f"The training ended as {training['status']}. {failure['message']}".strip())


def trainings(
    status: Annotated[str | None, typer.Option(help="Only trainings in this status.")] = None,
    limit: Limit = 20,
    gateway: Gateway = _DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """List trainings, newest first."""
    found = _list(GatewayClient(gateway, key), "/v1/trainings", {"limit": limit, "status": status})
    if as_json:
        print_json(found)
        return
    table = Table("training", "model", "status", "PhotoGPT says", "triggered", "next poll", "last delivery problem")
    for item in found["data"]:
        marks = "".join(f" [yellow]{flag}[/]" for flag in ("overdue", "suspended") if item[flag])
        problem = next((c["last_problem"] for c in item["callbacks"] if c["last_problem"]), "")
        times = (_clock_time(item["triggered_at"]), _clock_time(item["next_poll_at"]))
        said = item["upstream_status"] or ""
        table.add_row(item["id"], item["model_id"], item["status"] + marks, said, *times, problem)
    _show(table, found)


def deliveries(
    training: Annotated[str | None, typer.Option(help="Only deliveries of this training.")] = None,
    status: Annotated[str | None, typer.Option(help="pending, delivered or dead.")] = None,
    limit: Limit = 20,
    gateway: Gateway = _DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """List deliveries with their last attempt, newest first."""
    asked = {"limit": limit, "status": status, "training_id": training}
    found = _list(GatewayClient(gateway, key), "/v1/deliveries", asked)
    if as_json:
        print_json(found)
        return
    table = Table("delivery", "event", "status", "attempts", "last answer", "next attempt", "to")
    for item in found["data"]:
        last = item["attempts"][-1] if item["attempts"] else {}
        answer = last.get("error_class") or last.get("status_code") or ""
        next_at = _clock_time(item["next_attempt_at"])
        attempts = str(len(item["attempts"]))
        table.add_row(item["id"], item["event_type"], item["status"], attempts, str(answer), next_at, item["url"])
    _show(table, found)


def start_training(
    client: GatewayClient, model_id: str, callback: str | None, metadata: str | None = None
) -> dict[str, Any]:
    """POST the train request and return the training."""
    body: dict[str, Any] = {"model_id": model_id}
    if callback:
        body["callback_url"] = callback
    if metadata:
        try:
            body["metadata"] = json.loads(metadata)
        except ValueError as error:
            raise typer.BadParameter(f"--metadata is not JSON: {error}") from error
    training: dict[str, Any] = client.call("POST", "/v1/trainings", json=body)
    return training


def wait_for_end(client: GatewayClient, training: dict[str, Any], *, speed: float = 1.0) -> dict[str, Any]:
    """Watch until the training ends. `speed`: how many times faster than usual it runs, for the demo."""
    with TrainingProgress(err, speed=speed) as progress:
        while training["finished_at"] is None:
            progress.show(training)
            time.sleep(_WATCH_SECONDS / min(speed, 5))  # noqa: TID251  # a person at a terminal waits in real time
            training = client.call("GET", training["urls"]["self"])
        progress.show(training)
    return training


def _list(client: GatewayClient, path: str, asked: dict[str, Any]) -> Any:
    return client.call("GET", path, params={name: value for name, value in asked.items() if value is not None})


def _show(table: Table, found: dict[str, Any]) -> None:
    out.print(table)
    if found["next_cursor"]:
        out.print("[dim]There are more; raise --limit, or read the API with its cursor.[/]")


def _clock_time(at: str | None) -> str:
    return "" if at is None else at.removesuffix("Z").partition(".")[0].replace("T", " ")
