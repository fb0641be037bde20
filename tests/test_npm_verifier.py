from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from tests.support.node import SignedMessage, Verdict

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = '{"type":"training.ready","data":{"metadata":{"name":"Zoë"}}}'


def signed(secret: str = SECRET, body: str = BODY) -> SignedMessage:
    now = datetime.now(UTC)  # noqa: TID251 the verifier looks at the real clock
    timestamp = str(int(now.timestamp()))
    signature = Webhook(secret).sign("msg_1", now, body)
    return {"secret": secret, "id": "msg_1", "timestamp": timestamp, "signature": signature, "body": body}


def test_what_is_signed_is_accepted(npm_verifier: Callable[[Sequence[SignedMessage]], list[Verdict]]) -> None:
    assert npm_verifier([signed()]) == [{"id": "msg_1", "ok": True, "problem": None}]


def test_one_flipped_bit_is_refused(npm_verifier: Callable[[Sequence[SignedMessage]], list[Verdict]]) -> None:
    message = signed()
    flipped = chr(ord(message["body"][-2]) ^ 1)
    broken: SignedMessage = {**message, "body": message["body"][:-2] + flipped + "}"}
    assert [verdict["ok"] for verdict in npm_verifier([message, broken])] == [True, False]
