"""Commands that talk to a running gateway over its API: `train` and `trainings`, and what all such commands share."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.table import Table

from service.cli.progress import TrainingProgress
from service.cli.terminal import CommandFailed, err, out, print_json
from service.domain.event import EventType

_WATCH_SECONDS = 1.0
_ID_WIDTH = 30
_TIMEOUT_SECONDS = 75.0  # a train request waits for two calls to PhotoGPT, 30 s each


def _from_the_environment(ctx: typer.Context, parameter: typer.CallbackParam, given: str | None) -> str | None:
    source = ctx.get_parameter_source(parameter.name or "")
    if source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter(
            "A command line can be read by everybody on this machine: set GATEWAY_TOKEN or PHOTOGPT_API_KEY instead."
        )
    return given


Gateway = Annotated[
    str,
    typer.Option(
        "--gateway",
        envvar="GATEWAY_URL",
        help="Base URL of the gateway. GATEWAY_TOKEN, or else PHOTOGPT_API_KEY, is what to authenticate with.",
        show_envvar=True,
    ),
]
Credential = Annotated[
    str | None,
    # No option at all would be a parameter of every command that nothing fills.
    typer.Option("--key", envvar=["GATEWAY_TOKEN", "PHOTOGPT_API_KEY"], hidden=True, callback=_from_the_environment),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]
Limit = Annotated[int, typer.Option(min=1, max=100, help="At most so many, the newest.")]

EventTypes = Annotated[
    list[EventType] | None,
    typer.Option(
        "--event",
        "--events",
        metavar="TYPE",
        help=f"Only events of this type; may be repeated. One of {', '.join(EventType)}.",
        show_default=False,
    ),
]

DEFAULT_GATEWAY = "http://127.0.0.1:8470"


def register(app: typer.Typer) -> None:
    for command in (train, trainings):
        app.command()(command)


@dataclass(frozen=True, slots=True)
class GatewayClient:
    base_url: str
    credential: str | None

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.credential}"} if self.credential else {}

    def url(self, path: str) -> str:
        return self.base_url.rstrip("/") + path

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The JSON answer, None if it has no body; CommandFailed with the gateway's own words otherwise."""
        try:
            with httpx.Client(trust_env=False, timeout=_TIMEOUT_SECONDS, headers=self.headers) as client:
                response = client.request(method, self.url(path), **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CommandFailed(self.unreachable(error)) from error
        if response.is_error:
            raise CommandFailed(self.refusal(response))
        if response.status_code == httpx.codes.NO_CONTENT:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise CommandFailed(self.no_gateway()) from error

    def list(self, path: str, asked: Mapping[str, Any]) -> Any:
        """A page of what is `asked` for; what is None is not."""
        return self.call("GET", path, params={name: value for name, value in asked.items() if value is not None})

    def unreachable(self, error: Exception) -> str:
        return f"No answer from the gateway at {self.base_url} ({error}): is `photogpt-webhooks serve` running?"

    def no_gateway(self) -> str:
        return f"{self.base_url} does not answer like a gateway."

    def refusal(self, response: httpx.Response) -> str:
        """Why the gateway refused, in its own words."""
        try:
            problem = response.json()
        except ValueError:
            problem = None
        if not isinstance(problem, dict) or "code" not in problem:
            return self.no_gateway()
        return f"{problem.get('detail', 'no detail')} ({response.status_code} {problem['code']})"


def train(
    model_id: Annotated[str, typer.Argument(help="The PhotoGPT model to train.")],
    callback: Annotated[str | None, typer.Option(help="URL that the webhook is POSTed to.")] = None,
    metadata: Annotated[str | None, typer.Option(help='JSON object that comes back, such as {"user": "42"}.')] = None,
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
        out.print(f"{training['id']}  {training['status']}{place}  model {training['model_id']}")
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
    gateway: Gateway = DEFAULT_GATEWAY,
    key: Credential = None,
    as_json: AsJson = False,
) -> None:
    """List trainings, newest first."""
    found = GatewayClient(gateway, key).list("/v1/trainings", {"limit": limit, "status": status})
    if as_json:
        print_json(found)
        return
    table = Table("training", "model", "status", "PhotoGPT says", "triggered", "next poll", "last delivery problem")
    for item in found["data"]:
        marks = "".join(f" [yellow]{flag}[/]" for flag in ("overdue", "suspended") if item[flag])
        problem = next((c["last_problem"] for c in item["callbacks"] if c["last_problem"]), "")
        times = (clock_time(item["triggered_at"]), clock_time(item["next_poll_at"]))
        said = item["upstream_status"] or ""
        table.add_row(item["id"], item["model_id"], item["status"] + marks, said, *times, problem)
    show_page(table, found)


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


def show_page(table: Table, found: dict[str, Any]) -> None:
    # Other commands want the id, so it is whole however narrow the terminal.
    table.columns[0].min_width, table.columns[0].no_wrap = _ID_WIDTH, True
    out.print(table)
    if found["next_cursor"]:
        out.print("[dim]There are more; raise --limit, or read the API with its cursor.[/]")


def clock_time(at: str | None) -> str:
    return "" if at is None else at.removesuffix("Z").partition(".")[0].replace("T", " ")


def in_path(given: str) -> str:
    """An id as a person gave it, as one part of a path."""
    return quote(given, safe="")


def only_own_options(ctx: typer.Context) -> None:
    """A group's options are those of its own list; before one of its commands they would mean nothing."""
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"Give options after `{ctx.invoked_subcommand}`.")
