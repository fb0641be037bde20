"""What holds for every command: help with an example, --json, one line for an error, quick completions."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import typer

from service.cli.client import GatewayClient
from service.cli.commands import app
from service.environment import environment_without_settings
from tests.cli.running import command, process

# Importing these takes longer than a shell should wait for a completion.
HEAVY = ("aiohttp", "asyncio", "fastapi", "httpx", "pydantic_settings", "rich", "sqlalchemy", "structlog", "yaml")
COMPLETE = "_PHOTOGPT_WEBHOOKS_COMPLETE"


def commands(found: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its path; a group that does something by itself is one, too."""
    found = found or typer.main.get_command(app)
    for name, inner in found.commands.items():
        if getattr(inner, "invoke_without_command", True):
            yield (*path, name), inner
        if hasattr(inner, "commands"):
            yield from commands(inner, (*path, name))


def options_of(found: Any) -> set[str]:
    return {name for parameter in found.params for name in parameter.opts}


def test_every_command_has_a_sentence_and_an_example() -> None:
    bare = [
        path for path, found in commands() if not (found.help or "").strip() or "photogpt-webhooks" not in found.epilog
    ]
    assert bare == []
    strange = [path for path, found in commands() if f"photogpt-webhooks {' '.join(path)}" not in found.epilog]
    assert strange == []


def test_whatever_asks_a_gateway_answers_in_json_too() -> None:
    asking = [(path, options_of(found)) for path, found in commands() if "--gateway" in options_of(found)]
    assert len(asking) > 15
    # Of what is deleted nothing is left to show.
    assert [path for path, options in asking if "--json" not in options] == [("endpoints", "delete")]


def test_the_help_names_the_exit_codes() -> None:
    done = command("--help")
    assert done.code == 0
    told = " ".join(done.stdout.split())
    assert "Exit codes: 0 done; 1 it did not work out; 2 the command or a setting is wrong; 3 the gateway" in told


def test_the_version_is_that_of_the_package() -> None:
    done = command("--version")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("photogpt-webhooks 0.")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing"], "No such command 'nothing'. See `photogpt-webhooks --help`."),
        (["--nothing"], "No such option: --nothing. See `photogpt-webhooks --help`."),
        (["train"], "Missing argument 'MODEL_ID'. See `photogpt-webhooks train --help`."),
        (["trainings", "--status", "done"], "'--status': 'done' is not one of 'queued', "),
        (["trainings", "--limit", "0"], "'--limit': "),
        (["train", "m", "--metadata", "{"], "--metadata: that is not JSON"),
        (["endpoints", "update", "whe_1"], "Say what to change"),
        (["deliveries", "--since", "soon"], "--since: 'soon' is no time"),
        (["trainings", "--key", "pgpt-key"], "set GATEWAY_TOKEN or PHOTOGPT_API_KEY instead"),
    ],
)
def test_a_command_that_is_wrong_is_one_line_with_where_to_look(arguments: list[str], told: str) -> None:
    done = command(*arguments, GATEWAY_URL="http://127.0.0.1:9")
    assert (done.code, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert told in line


def test_no_command_at_all_is_answered_with_the_help() -> None:
    for arguments in ([], ["simulate"]):
        done = command(*arguments)
        assert (done.code, "Usage: " in done.stdout + done.stderr) == (2, True)


def test_a_gateway_that_is_not_there_is_told_from_one_that_refuses() -> None:
    done = command("trainings", GATEWAY_URL="http://127.0.0.1:9")
    assert (done.code, done.stdout) == (3, "")
    [line] = done.stderr.splitlines()
    assert "is `photogpt-webhooks serve` running?" in line


def test_who_is_not_let_in_hears_what_to_set() -> None:
    problem = httpx.Response(401, json={"code": "unauthenticated", "detail": "Send a key."})
    told = str(GatewayClient("http://127.0.0.1:8470", None).refusal(problem))
    assert told.startswith("Send a key. (401 unauthenticated): set GATEWAY_TOKEN, or PHOTOGPT_API_KEY")
    refused = GatewayClient("http://127.0.0.1:8470", "wrong").refusal(problem)
    assert str(refused) == "Send a key. (401 unauthenticated)"


def test_ctrl_c_ends_quietly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {**environment_without_settings(), "GATEWAY_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with subprocess.Popen(
            [sys.executable, "-m", "service", "trainings"], stderr=subprocess.PIPE, env=environment
        ) as asking:
            connection, _ = silent.accept()
            with connection:
                asking.send_signal(signal.SIGINT)
                _, said = asking.communicate(timeout=30)
    assert (asking.returncode, said) == (130, b"")


def test_nothing_heavy_is_imported_before_a_command_runs() -> None:
    script = f"import service.cli.commands, sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("shell", "line", "offered"),
    [
        ("bash", "photogpt-webhooks trainings --status re", ["ready", "rejected"]),
        ("bash", "photogpt-webhooks listen --event training.s", ["training.started", "training.suspended"]),
        ("bash", "photogpt-webhooks deliveries re", ["retry"]),
        # No gateway is there to ask for ids: nothing, and quietly.
        ("bash", "photogpt-webhooks trainings show trn_", []),
        ("zsh", "photogpt-webhooks deliveries --status d", ["delivered", "dead"]),
        ("fish", "photogpt-webhooks serve --role ", ["all", "api", "worker"]),
    ],
)
def test_shells_are_offered_commands_options_and_values(shell: str, line: str, offered: list[str]) -> None:
    words = line.split(" ")
    done = process(
        GATEWAY_URL="http://127.0.0.1:9",
        **{COMPLETE: f"complete_{shell}"},
        COMP_WORDS=line,
        COMP_CWORD=str(len(words) - 1),
        _TYPER_COMPLETE_ARGS=line,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert done.stderr == ""
    if offered:
        assert [word for word in offered if word not in done.stdout] == []
        assert "queued" not in done.stdout
    else:
        assert done.stdout.strip() == ""


def test_who_stops_reading_hears_no_complaint() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "service", "keygen"], stdout=pipe, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(("settings", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_and_not_where_nobody_wants_them(settings: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    environment = {**environment_without_settings(), "TERM": "xterm-256color", **settings}
    environment.pop("NO_COLOR", None) if coloured else None
    subprocess.run(
        [sys.executable, "-m", "service", "nothing"], stderr=theirs, env=environment, check=False, timeout=60
    )
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert ("\x1b[1;31merror" in shown) is coloured
    assert "No such command" in shown
    assert "\x1b[" not in command("nothing").stderr
