"""Sessions of operators: a signed cookie, and the token in each form that only its own session can have sent.

Nothing is stored. The key comes from the admin token, so that another token ends all sessions; without a token (on
loopback) it is this process's own.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from dataclasses import dataclass
from datetime import timedelta

from itsdangerous import BadSignature, URLSafeSerializer

from service.clock import Clock
from service.domain.secret import Secret

COOKIE = "photogpt_webhooks_ops"
SAID_COOKIE = "photogpt_webhooks_ops_said"
LASTS = timedelta(hours=12)
_SAID_LASTS = timedelta(minutes=1)
_LONGEST_COOKIE = 2048
_LONGEST_SAID = 600


@dataclass(frozen=True, slots=True)
class Session:
    """`is_new`: its cookie has still to be set."""

    id: str
    csrf: str
    is_new: bool = False

    @property
    def shown(self) -> str:
        """As it stands in the log."""
        return self.id[:8]


class Sessions:
    """`token`: None where nobody has to log in. `rng`: strong."""

    def __init__(self, token: Secret | None, clock: Clock, rng: random.Random) -> None:
        self._token = token
        self._clock = clock
        self._rng = rng
        secret = token.reveal() if token else f"{rng.getrandbits(256):x}"
        self._key = hashlib.sha256(b"photogpt-webhooks /ops\0" + secret.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def need_login(self) -> bool:
        return self._token is not None

    def admits(self, token: str) -> bool:
        """Whether this is the admin token, in a time that says nothing of it."""
        return self._token is not None and Secret(token) == self._token

    def begin(self) -> Session:
        session_id = f"{self._rng.getrandbits(128):032x}"
        return Session(session_id, self._csrf(session_id), is_new=True)

    def cookie(self, session: Session) -> str:
        return self._signed("session", session.id)

    def read(self, cookie: str | None) -> Session | None:
        """The session that this cookie is of, unless it has ended or was never ours."""
        session_id = self._read("session", cookie, LASTS)
        return None if session_id is None else Session(session_id, self._csrf(session_id))

    def sent(self, session: Session, csrf: str) -> bool:
        """Whether a form with this token came from a page of that session."""
        return hmac.compare_digest(session.csrf, csrf if csrf.isascii() else "")

    def say(self, tone: str, text: str) -> str:
        """A cookie for the next page: what has come of an action."""
        return self._signed("said", f"{tone} {text[:_LONGEST_SAID]}")

    def said(self, cookie: str | None) -> tuple[str, str] | None:
        """Tone and text."""
        text = self._read("said", cookie, _SAID_LASTS)
        if text is None:
            return None
        tone, _, words = text.partition(" ")
        return tone, words

    def _csrf(self, session_id: str) -> str:
        return hmac.new(self._key.encode(), f"csrf {session_id}".encode(), hashlib.sha256).hexdigest()

    def _signed(self, use: str, text: str) -> str:
        return str(self._serializer(use).dumps([text, self._clock.now().timestamp()]))

    def _read(self, use: str, cookie: str | None, lasts: timedelta) -> str | None:
        """What was signed for this use, unless it is too old."""
        if not cookie or len(cookie) > _LONGEST_COOKIE or not cookie.isascii():
            return None
        try:
            text, signed_at = self._serializer(use).loads(cookie)
        except BadSignature:
            return None
        age = self._clock.now().timestamp() - float(signed_at)
        # A wall clock that was put back ends no session.
        return str(text) if age < lasts.total_seconds() else None

    def _serializer(self, use: str) -> URLSafeSerializer:
        return URLSafeSerializer(self._key, salt=use, signer_kwargs={"digest_method": hashlib.sha256})
