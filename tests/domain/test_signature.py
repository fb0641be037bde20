"""Signatures after Standard Webhooks 1.0.0, held against its published vectors and its reference libraries."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from service.clock import SystemClock
from service.domain.signature import InvalidSecret, new_secret, secret_bytes, signature_headers, spelled_public_key
from tests.support.node import SignedMessage, Verdict

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
VECTOR_ID, VECTOR_BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}'
VECTOR_AT = datetime.fromtimestamp(1614265330, UTC)
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
# The vector's own test key. In this spelling a secret key is 64 bytes: the seed, then the public key.
VECTOR_KEY = base64.b64decode(
    "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
)
VECTOR_SEED, VECTOR_PUBLIC_KEY = VECTOR_KEY[:32], VECTOR_KEY[32:]
VECTOR_KEY_SIGNATURE = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
BODY = '{"type":"training.ready","data":{"metadata":{"name":"Zoë"}}}'.encode()


def whsec(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


def accepted(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether the reference library for Python takes it; for a body that is no UTF-8 it raises ValueError."""
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):
        return False
    return True


def test_the_published_vector() -> None:
    assert signature_headers(VECTOR_ID, VECTOR_AT, VECTOR_BODY, [SECRET]) == {
        "webhook-id": VECTOR_ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": VECTOR_SIGNATURE,
    }


def test_the_published_vector_of_ed25519_comes_after_the_others() -> None:
    sign = Ed25519PrivateKey.from_private_bytes(VECTOR_SEED).sign
    assert signature_headers(VECTOR_ID, VECTOR_AT, VECTOR_BODY, [SECRET], sign) == {
        "webhook-id": VECTOR_ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": f"{VECTOR_SIGNATURE} {VECTOR_KEY_SIGNATURE}",
    }


def test_the_published_public_key() -> None:
    assert spelled_public_key(VECTOR_PUBLIC_KEY) == "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
    assert Ed25519PrivateKey.from_private_bytes(VECTOR_SEED).public_key().public_bytes_raw() == VECTOR_PUBLIC_KEY


@given(
    keys=st.lists(st.binary(min_size=24, max_size=64), max_size=3),
    body=st.binary(),
    key_signature=st.none() | st.binary(min_size=64, max_size=64),
)
def test_one_v1_for_each_secret_in_their_order_then_v1a(
    keys: list[bytes], body: bytes, key_signature: bytes | None
) -> None:
    asked: list[bytes] = []

    def sign(signed: bytes) -> bytes:
        asked.append(signed)
        return key_signature or b""

    secrets = [whsec(key) for key in keys]
    headers = signature_headers("evt_1", VECTOR_AT, body, secrets, None if key_signature is None else sign)
    alone = [signature_headers("evt_1", VECTOR_AT, body, [secret])["webhook-signature"] for secret in secrets]
    by_key = [] if key_signature is None else [f"v1a,{base64.b64encode(key_signature).decode()}"]
    assert headers["webhook-signature"] == " ".join(alone + by_key)
    assert asked == [b"evt_1.1614265330." + body] * len(by_key)


def test_the_time_of_the_attempt_is_told_in_whole_seconds() -> None:
    late_in_its_second = VECTOR_AT.replace(microsecond=999_999)
    headers = signature_headers(VECTOR_ID, late_in_its_second, VECTOR_BODY, [SECRET])
    assert (headers["webhook-timestamp"], headers["webhook-signature"]) == ("1614265330", VECTOR_SIGNATURE)


def test_while_a_secret_is_rotated_both_sign() -> None:
    signatures = signature_headers(VECTOR_ID, VECTOR_AT, VECTOR_BODY, [OTHER_SECRET, SECRET])["webhook-signature"]
    first, second = signatures.split(" ")
    assert second == VECTOR_SIGNATURE
    assert first == signature_headers(VECTOR_ID, VECTOR_AT, VECTOR_BODY, [OTHER_SECRET])["webhook-signature"]


@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
def test_the_reference_library_accepts_either_secret(secret: str) -> None:
    headers = signature_headers("evt_1", SystemClock().now(), BODY, [SECRET, OTHER_SECRET])
    assert accepted(secret, headers, BODY)
    assert not accepted(whsec(b"x" * 24), headers, BODY)


def test_the_reference_library_for_javascript_accepts_it(
    npm_verifier: Callable[[Sequence[SignedMessage]], list[Verdict]],
) -> None:
    headers = signature_headers("evt_1", SystemClock().now(), BODY, [OTHER_SECRET, SECRET])
    message: SignedMessage = {
        "secret": SECRET,
        "id": headers["webhook-id"],
        "timestamp": headers["webhook-timestamp"],
        "signature": headers["webhook-signature"],
        "body": BODY.decode(),
    }
    assert npm_verifier([message]) == [{"id": "evt_1", "ok": True, "problem": None}]


@given(key=st.binary(min_size=24, max_size=64), body=st.text().map(str.encode))
def test_any_secret_and_any_text_is_accepted(key: bytes, body: bytes) -> None:
    assert accepted(whsec(key), signature_headers("evt_1", SystemClock().now(), body, [whsec(key)]), body)


def flipped(data: bytes, bit: int) -> bytes:
    place, shift = divmod(bit % (8 * len(data)), 8)
    return data[:place] + bytes([data[place] ^ (1 << shift)]) + data[place + 1 :]


@given(body=st.text(min_size=1).map(str.encode), bit=st.integers(0))
def test_one_other_bit_in_the_body_is_refused(body: bytes, bit: int) -> None:
    headers = signature_headers("evt_1", SystemClock().now(), body, [SECRET])
    assert not accepted(SECRET, headers, flipped(body, bit))


@given(key=st.binary(min_size=24, max_size=64), bit=st.integers(0))
def test_one_other_bit_in_the_secret_is_refused(key: bytes, bit: int) -> None:
    headers = signature_headers("evt_1", SystemClock().now(), BODY, [whsec(key)])
    assert not accepted(whsec(flipped(key, bit)), headers, BODY)


@given(bit=st.integers(0))
def test_one_other_bit_in_the_signature_is_refused(bit: int) -> None:
    headers = signature_headers("evt_1", SystemClock().now(), BODY, [SECRET])
    signature = base64.b64decode(headers["webhook-signature"].removeprefix("v1,"))
    forged = "v1," + base64.b64encode(flipped(signature, bit)).decode()
    assert not accepted(SECRET, {**headers, "webhook-signature": forged}, BODY)


@pytest.mark.parametrize(
    ("name", "value"), [("webhook-id", "evt_2"), ("webhook-id", "evt_1."), ("webhook-timestamp", "one second later")]
)
def test_another_id_or_time_is_refused(name: str, value: str) -> None:
    headers = signature_headers("evt_1", SystemClock().now(), BODY, [SECRET])
    if name == "webhook-timestamp":
        value = str(int(headers[name]) + 1)
    assert not accepted(SECRET, {**headers, name: value}, BODY)


@pytest.mark.parametrize("length", [24, 25, 26, 32, 63, 64])
def test_a_secret_holds_24_to_64_bytes(length: int) -> None:
    key = bytes(range(length))
    assert secret_bytes(whsec(key)) == key


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("", "starts with 'whsec_'"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "starts with 'whsec_'"),
        ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "starts with 'whsec_'"),
        (" whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "starts with 'whsec_'"),
        ("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "starts with 'whsec_'"),
        ("whsec_", "24 to 64 bytes"),
        (whsec(b"x" * 23), "24 to 64 bytes"),
        (whsec(b"x" * 65), "24 to 64 bytes"),
        (whsec(b"x" * 100_000), "24 to 64 bytes"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", "not standard base64"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "not standard base64"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8I LPZIo2LaLaSw", "not standard base64"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS_", "not standard base64"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS-", "not standard base64"),
        ("whsec_" + "=" * 32, "not standard base64"),
        ("whsec_" + "é" * 32, "not standard base64"),
        ("whsec_" + "\ud800" * 32, "not standard base64"),
        ("whsec_whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "not standard base64"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_is_no_secret_is_refused_without_repeating_it(secret: str, problem: str) -> None:
    with pytest.raises(InvalidSecret, match=problem) as refused:
        secret_bytes(secret)
    assert secret.removeprefix("whsec_")[:10] not in str(refused.value) or secret in ("", "whsec_")


def test_a_bad_secret_signs_nothing() -> None:
    with pytest.raises(InvalidSecret):
        signature_headers("evt_1", VECTOR_AT, BODY, [SECRET, "whsec_short"])


def test_a_new_secret_is_32_random_bytes() -> None:
    rng = random.Random(1)
    secrets = {new_secret(rng) for _ in range(1000)}
    assert len(secrets) == 1000
    assert {len(secret_bytes(secret)) for secret in secrets} == {32}
    assert new_secret(random.Random(2)) == new_secret(random.Random(2))
