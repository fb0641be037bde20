"""What a failure of the engine means: its stable class, from its most telling cause. Errors in, values out."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import aiohttp

from service.domain.delivery import ErrorClass
from service.outbound.guard import Refused
from service.outbound.passage import Passage

# Whatever goes wrong in an exchange: aiohttp's own errors; the system's, TLS's and timeouts; headers it can't send.
FAILURES = (aiohttp.ClientError, OSError, ValueError)
_AT_THE_PROXY = (
    aiohttp.ClientProxyConnectionError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ClientConnectorDNSError,
    aiohttp.ClientResponseError,
    aiohttp.ServerDisconnectedError,
)
# What TLS says when it has to wait for the socket; whatever goes wrong meanwhile has it as its context.
_WAITING = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


def error_class_of(error: BaseException, passage: Passage) -> ErrorClass:
    causes = [cause for cause in _chain(error) if not isinstance(cause, _WAITING)]

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if has(Refused):
        return ErrorClass.BLOCKED
    if passage.by_proxy and _is_fault_of_proxy(error, passage):
        return ErrorClass.EGRESS_PROXY
    if not passage.connected and passage.tls and has(ConnectionResetError, ConnectionAbortedError, BrokenPipeError):
        return ErrorClass.TLS  # hung up on during the handshake: a connect as such is refused, never reset
    for kind, error_class in (
        (socket.gaierror, ErrorClass.DNS),
        (ssl.SSLError, ErrorClass.TLS),
        (ConnectionRefusedError, ErrorClass.REFUSED),
        (TimeoutError, ErrorClass.TIMEOUT),
        (ConnectionError, ErrorClass.RESET),
        (aiohttp.ClientConnectorError, ErrorClass.CONNECT),
        (aiohttp.ServerDisconnectedError, ErrorClass.RESET),
        (aiohttp.ClientOSError, ErrorClass.RESET),
    ):
        if has(kind):
            return error_class
    # Of a body that ends too early only the connection's own error says whether it was cut off or closed.
    return ErrorClass.RESET if isinstance(passage.lost_by, OSError) else ErrorClass.PROTOCOL


def _is_fault_of_proxy(error: BaseException, passage: Passage) -> bool:
    """Unreachable, or it does not do what it is there for. What is wrong beyond it is the receiver's."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return True
    if passage.connected:
        return False
    if isinstance(error, TimeoutError):
        return passage.unreached
    return isinstance(error, _AT_THE_PROXY) or type(error) is aiohttp.ClientOSError


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
