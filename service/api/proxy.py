"""`/api/...`: PhotoGPT's own API under our address, for code that changes nothing but its base URL.

All is passed on as it is (`passing_on`), but for the train path, which is PhotoGPT's in its answers and ours in its
care: the training is watched as one of `POST /v1/trainings` is.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.api.body import PHOTOGPT
from service.api.dependencies import idempotency_key_of
from service.api.direct import Direct, caller_of, parts_of
from service.api.passing_on import PassedOn, Witness, begin
from service.api.problems import problem, upstream_unreachable
from service.components import Components
from service.domain.errors import InvalidRequest, NotFound, UpstreamRefused
from service.domain.reply import Reply
from service.photogpt.passing import EVERY_METHOD, is_train
from service.tenancy import Caller
from service.trainings.request import CallbackRequest, Outcome, OutcomeKind, TrainRequest
from service.trainings.sightings import MOST_BYTES, MOST_BYTES_OF_LIST, Sighting

_CALLBACK_HEADER = "callback-url"
_CALLBACK_PARAMETER = "callback_url"
_HINTS = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_GUESSES = ("prefetch", "prerender", "preview")


async def _photogpt(request: Request) -> Response:
    parts = parts_of(request)
    caller = caller_of(request, parts)
    raw_path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    prefix = PHOTOGPT.encode()
    target = parts.proxy.target(raw_path.removeprefix(prefix), query) if raw_path.startswith(prefix) else None
    if target is None:
        raise NotFound("PhotoGPT documents no such route; GATEWAY_PROXY_ALL opens those that it does not document.")
    if request.method not in target.methods:
        allowed = ", ".join(sorted(target.methods))
        detail = f"PhotoGPT documents {allowed} for this route."
        return problem(405, "method_not_allowed", detail, headers={"allow": allowed})
    if is_train(target.path):
        return _not_meant(request) or await _train(request, parts, caller, target.path[1])
    if parts.settings.mode == "gateway":
        # Keys are made up faster than PhotoGPT can refuse them. A sidecar lets PhotoGPT itself say so.
        await parts.tenancy.admit(caller)
    return PassedOn(parts.proxy, caller.key, target, _witness(parts, caller, request.method, target.path))


photogpt = Direct(PHOTOGPT + "{path:path}", _photogpt, methods=sorted(EVERY_METHOD))


def _not_meant(request: Request) -> Response | None:
    """The problem for a request that only guesses or compares: a training costs money, and this is its trigger.

    Prefetching is refused with 403, early data (RFC 8470), which may be replayed, with 425, and a condition (If-...)
    with 412: the trigger is no document that somebody can have a copy of.
    """
    said = " ".join(request.headers.get(name, "") for name in _HINTS).lower()
    if any(guess in said for guess in _GUESSES):
        return problem(403, "prefetch_refused", "This starts a training, which costs money: it is not prefetched.")
    if request.headers.get("early-data") == "1":
        return problem(425, "too_early", "This starts a training: send it again when the handshake is done.")
    if any(name.startswith("if-") for name in request.headers):
        return problem(412, "condition_refused", "This starts a training: it takes no conditions (If-...).")
    return None


async def _train(request: Request, parts: Components, caller: Caller, model_id: str) -> Response:
    """PhotoGPT's answer to the trigger, and the training's id.

    Who joins a training that runs, or repeats an Idempotency-Key, gets what PhotoGPT documents for a trigger that
    succeeded, or the refusal in its envelope: PhotoGPT is not asked again, and a caller written for PhotoGPT knows no
    third kind. That a training has been joined is told by `Training-Joined: true`. A lost answer is a 504: PhotoGPT's
    clients know it for unclear, and their repeat joins the training.
    """
    parts.lifecycle.refuse_while_draining()
    key = idempotency_key_of(request.headers.get("idempotency-key"))
    try:
        outcome = await parts.trainings.intake.start(caller, TrainRequest(model_id, _callback(request), {}, key))
    except UpstreamRefused as refused:
        if refused.reply is None:
            raise
        return Replied(refused.reply)
    response = _answer(outcome)
    if outcome.training is not None:
        response.headers["training-id"] = outcome.training["id"]
        response.headers["link"] = f'<{outcome.training["urls"]["self"]}>; rel="monitor"'
    if outcome.kind is OutcomeKind.JOINED:
        response.headers["training-joined"] = "true"
    if outcome.replayed:
        response.headers["idempotent-replayed"] = "true"
    return response


def _witness(parts: Components, caller: Caller, method: str, path: tuple[str, ...]) -> Witness | None:
    """For an answer that tells of models, and so of trainings that may be watched."""
    if path[0] != "models" or len(path) > 2 or method not in ("GET", "DELETE"):
        return None
    began = parts.clock.now()
    model_id, deletes = path[1] if len(path) == 2 else None, method == "DELETE"

    def tell(coding: str, chunks: list[bytes]) -> None:
        sighting = Sighting(caller.tenant_id, began, model_id, deletes, coding, chunks)
        parts.trainings.sightings.notice(sighting)

    return Witness(MOST_BYTES_OF_LIST if model_id is None else MOST_BYTES, tell)


def _callback(request: Request) -> CallbackRequest | None:
    given = [
        *(CallbackRequest(url, _CALLBACK_PARAMETER) for url in request.query_params.getlist(_CALLBACK_PARAMETER)),
        *(CallbackRequest(url, _CALLBACK_HEADER) for url in request.headers.getlist(_CALLBACK_HEADER)),
    ]
    if len(given) > 1:
        detail = "Send one callback, as callback_url or as the header Callback-Url."
        raise InvalidRequest(detail, pointer=_CALLBACK_PARAMETER, code="two_callbacks")
    return given[0] if given else None


def _answer(outcome: Outcome) -> Response:
    if outcome.reply is not None:
        return Replied(outcome.reply)
    if outcome.kind is OutcomeKind.UNREACHABLE:
        return upstream_unreachable(outcome.message, outcome.training)
    if outcome.kind is OutcomeKind.REFUSED:
        status = outcome.status or 502
        said = {"status": "NOK", "message": outcome.message, "err": f"{status}: {outcome.message}", "result": None}
        return JSONResponse(said, status)
    if outcome.kind is OutcomeKind.JOINED or outcome.replayed:
        return JSONResponse({"result": "Training triggered", "status": "OK"})
    detail = "PhotoGPT's answer was lost. The training is watched, and its event tells the rest; a repeat joins it."
    return problem(504, "upstream_timeout", detail, training=outcome.training)


class Replied(Response):
    """PhotoGPT's own answer, header by header; what is added to `headers` comes beside them."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(status_code=reply.status)
        self._reply = reply
        self.raw_headers = []

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        added = [header for header in self.raw_headers if header[0] not in {name for name, _ in self._reply.headers}]
        headers = [*self._reply.headers, *added, *self._length()]
        await begin(scope, send, self.status_code, headers)
        await send({"type": "http.response.body", "body": self._reply.body, "more_body": False})

    def _length(self) -> list[tuple[bytes, bytes]]:
        """PhotoGPT may have sent it in chunks; here its end is known."""
        if any(name == b"content-length" for name, _ in self._reply.headers) or self.status_code in (204, 304):
            return []
        return [(b"content-length", str(len(self._reply.body)).encode())]
