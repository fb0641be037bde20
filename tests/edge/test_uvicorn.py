"""What `service.listener` leans on in uvicorn. If one of these fails after an upgrade, read its protocol anew."""

from __future__ import annotations

import inspect
import re
import sys
import typing

import httptools
import pytest
import uvicorn
from uvicorn.protocols.http import flow_control
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.listener.limits import Limits, Refusal
from service.listener.protocol import Protocol


def written(subject: object) -> str:
    return inspect.getsource(subject)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    sorted(name for name in vars(Protocol) if not name.startswith("_") and name not in {"limits", "crowd_told_at"}),
)
def test_what_is_overridden_is_there_with_the_same_parameters(name: str) -> None:
    ours, theirs = getattr(Protocol, name), getattr(HttpToolsProtocol, name)
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


def test_what_is_ours_hides_nothing_of_uvicorns() -> None:
    private = {name for name in vars(Protocol) if name.startswith("_") and not name.startswith("__")}
    theirs = {*vars(HttpToolsProtocol), *re.findall(r"self\.(\w+)", written(HttpToolsProtocol))}
    assert private & theirs == set()


@pytest.mark.parametrize(
    "name",
    ["parser", "transport", "flow", "pipeline", "cycle", "connections", "server_state", "loop"],
)
def test_a_connection_has_what_is_read_of_it(name: str) -> None:
    assert re.search(rf"self\.{name}\b.* = ", written(HttpToolsProtocol.__init__))


@pytest.mark.parametrize("name", ["url", "headers"])
def test_a_head_is_collected_where_it_is_read(name: str) -> None:
    assert re.search(rf"self\.{name} = ", written(HttpToolsProtocol.on_message_begin))


@pytest.mark.parametrize(
    "name",
    [
        "response_started",
        "response_complete",
        "disconnected",
        "keep_alive",
        "message_event",
        "default_headers",
        "scope",
    ],
)
def test_a_request_has_what_is_read_of_it(name: str) -> None:
    assert re.search(rf"self\.{name} = ", written(RequestResponseCycle.__init__))


def test_requests_that_wait_are_put_in_at_the_left_and_taken_out_at_the_right() -> None:
    assert "self.pipeline.appendleft((self.cycle, app))" in written(HttpToolsProtocol.on_headers_complete)
    assert "self.pipeline.pop()" in written(HttpToolsProtocol.on_response_complete)


def test_every_request_is_told_where_to_say_that_it_was_answered() -> None:
    assert "on_response=self.on_response_complete" in written(HttpToolsProtocol.on_headers_complete)
    assert written(RequestResponseCycle.send).count("self.on_response()") == 1


def test_nothing_else_of_the_transport_is_used_than_a_wire_has() -> None:
    module = written(sys.modules[HttpToolsProtocol.__module__]) + written(flow_control)
    used = set(re.findall(r"\b(?:self\._?)?transport\.(\w+)", module)) - {"set_protocol"}
    assert used == {"write", "close", "is_closing", "pause_reading", "resume_reading"}


def test_every_refusal_has_a_status_line() -> None:
    limits = Limits()
    methods = [method for name, method in inspect.getmembers(limits, inspect.ismethod) if not name.startswith("_")]
    refusals = [method() for method in methods if typing.get_type_hints(method).get("return") is Refusal]
    assert {refusal.status for refusal in refusals} == {408, 414, 431, 503}
    assert all(refusal.status in STATUS_LINE for refusal in refusals)


def test_the_parser_reports_an_error_of_ours_as_its_own() -> None:
    class Raising:
        def on_url(self, url: bytes) -> None:
            raise ValueError

    with pytest.raises(httptools.HttpParserError):
        httptools.HttpRequestParser(Raising()).feed_data(b"GET / HTTP/1.1\r\n\r\n")


def test_uvicorn_takes_a_class_for_its_protocol() -> None:
    config = uvicorn.Config(lambda: None, http=Protocol, log_config=None)
    config.load()
    assert config.http_protocol_class is Protocol
