"""What others make of our signatures: two reference libraries for `v1`, two libraries of ed25519 for `v1a`.

Every webhook here is signed as during a rotation, with a new secret and an old one, and with the installation's key. A
change is one flipped bit. In a signature it is made on the bytes and spelled anew: the last character of a base64 text
has bits that say nothing, so that a change of the text alone may leave the signature as it is.
"""

from __future__ import annotations

import base64
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from service.clock import SystemClock
from service.domain.signature import new_secret, signature_headers, spelled_public_key
from service.vault import Vault, new_master_key
from tests.support.node import require_node, require_npm_verifier, verify_ed25519_with_node, verify_with_npm

SEED = 20261122
MESSAGES = 20
CHANGES_OF_ONE_FIELD = 250  # ... of the four, so 1000
NEW, OLD, KEY = 0, 1, 2  # the places of the signatures in the header

Field = Literal["id", "timestamp", "body", "signature"]


@dataclass(frozen=True)
class Message:
    """One webhook on its way."""

    id: str
    timestamp: str
    body: str
    signatures: tuple[str, ...]

    @property
    def signature(self) -> str:
        return " ".join(self.signatures)


@dataclass(frozen=True)
class Received:
    """A message, and the secret or public key that its receiver holds."""

    message: Message
    held: str


@dataclass(frozen=True)
class Sent:
    """A message, and what its receiver may hold: the new secret, the old one, the public key."""

    message: Message
    may_hold: tuple[str, str, str]

    def received(self, place: int) -> Received:
        return Received(self.message, self.may_hold[place])


def sent_messages(rng: random.Random, vault: Vault) -> list[Sent]:
    """Of one installation, each for another receiver; their time is this moment, which verifiers insist on."""
    return [sent_message(rng, vault) for _ in range(MESSAGES)]


def sent_message(rng: random.Random, vault: Vault) -> Sent:
    old = "whsec_" + base64.b64encode(rng.randbytes(rng.randint(24, 64))).decode()
    new = new_secret(rng)
    body = f'{{"type":"training.ready","data":{{"id":"{rng.randbytes(rng.randint(8, 64)).hex()}","name":"Zoë 🖼"}}}}'
    headers = signature_headers(
        f"evt_{rng.randbytes(13).hex()}", SystemClock().now(), body.encode(), [new, old], vault.sign
    )
    signatures = tuple(headers["webhook-signature"].split(" "))
    message = Message(headers["webhook-id"], headers["webhook-timestamp"], body, signatures)
    return Sent(message, (new, old, spelled_public_key(vault.public_key)))


@pytest.fixture
def rng() -> random.Random:
    return random.Random(SEED)


@pytest.fixture
def vault(rng: random.Random) -> Vault:
    return unlocked(rng)


def unlocked(rng: random.Random) -> Vault:
    """Of a new installation."""
    vault = Vault(new_master_key(rng), rng)
    vault.unlock(None)
    return vault


@pytest.fixture
def sent(rng: random.Random, vault: Vault) -> list[Sent]:
    return sent_messages(rng, vault)


# --- the verifiers: which of these messages they accept ---

Verifier = Callable[[Sequence[Received]], list[bool]]


def reference_for_python(received: Sequence[Received]) -> list[bool]:
    return [_python_accepts(one.message, one.held) for one in received]


def _python_accepts(message: Message, secret: str) -> bool:
    headers = {
        "webhook-id": message.id,
        "webhook-timestamp": message.timestamp,
        "webhook-signature": message.signature,
    }
    try:
        Webhook(secret).verify(message.body.encode(), headers, json_parse=False)
    except WebhookVerificationError:
        return False
    return True


def reference_for_javascript(received: Sequence[Received]) -> list[bool]:
    require_npm_verifier()
    verdicts = verify_with_npm(
        [
            {
                "secret": one.held,
                "id": one.message.id,
                "timestamp": one.message.timestamp,
                "signature": one.message.signature,
                "body": one.message.body,
            }
            for one in received
        ]
    )
    return [verdict["ok"] for verdict in verdicts]


def ed25519_of_cryptography(received: Sequence[Received]) -> list[bool]:
    return [_ed25519_accepts(one.message, one.held) for one in received]


def _ed25519_accepts(message: Message, public_key: str) -> bool:
    assert public_key.startswith("whpk_")
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_"), validate=True))
    signed = f"{message.id}.{message.timestamp}.{message.body}".encode()
    listed = [text.split(",") for text in message.signature.split(" ")]
    for own in (text for version, text in listed if version == "v1a"):
        try:
            key.verify(base64.b64decode(own, validate=True), signed)
        except InvalidSignature:
            continue
        return True
    return False


def ed25519_of_node(received: Sequence[Received]) -> list[bool]:
    require_node()
    verdicts = verify_ed25519_with_node(
        [
            {
                "public_key": one.held,
                "id": one.message.id,
                "timestamp": one.message.timestamp,
                "signature": one.message.signature,
                "body": one.message.body,
            }
            for one in received
        ]
    )
    return [verdict["ok"] for verdict in verdicts]


# Each verifier, and the places of the signatures that it looks at.
by_each_verifier = pytest.mark.parametrize(
    ("verifier", "places"),
    [
        (reference_for_python, (NEW, OLD)),
        (reference_for_javascript, (NEW, OLD)),
        (ed25519_of_cryptography, (KEY,)),
        (ed25519_of_node, (KEY,)),
    ],
)


# --- one flipped bit ---


def flipped(data: bytes, bit: int) -> bytes:
    place, shift = divmod(bit, 8)
    return data[:place] + bytes([data[place] ^ (1 << shift)]) + data[place + 1 :]


def flipped_text(text: str, bit: int) -> str | None:
    """None if the flipped bytes are no text any more."""
    try:
        return flipped(text.encode(), bit).decode()
    except UnicodeDecodeError:
        return None


def flipped_signature(signature: str, bit: int) -> str:
    version, text = signature.split(",")
    return f"{version},{base64.b64encode(flipped(base64.b64decode(text, validate=True), bit)).decode()}"


def changes(message: Message, field: Field, place: int) -> Iterator[Message]:
    """The message with each bit of the field flipped in turn; of the signatures, only of the one at this place."""
    if field == "signature":
        bits = 8 * len(base64.b64decode(message.signatures[place].split(",")[1]))
        for bit in range(bits):
            other = flipped_signature(message.signatures[place], bit)
            yield replace(message, signatures=(*message.signatures[:place], other, *message.signatures[place + 1 :]))
        return
    text: str = getattr(message, field)
    for bit in range(8 * len(text.encode())):
        changed = flipped_text(text, bit)
        if changed is not None:
            other_text: dict[str, Any] = {field: changed}
            yield replace(message, **other_text)


def thousand_changes(rng: random.Random, sent: Sequence[Sent], places: Sequence[int]) -> list[tuple[Field, Received]]:
    """As many in each field, drawn from all that there are, for receivers that hold what verifies one of the places."""
    fields: tuple[Field, ...] = get_args(Field)
    drawn = []
    for field in fields:
        possible = [
            (field, Received(changed, one.may_hold[place]))
            for one in sent
            for place in places
            for changed in changes(one.message, field, place)
        ]
        drawn += rng.sample(possible, CHANGES_OF_ONE_FIELD)
    return drawn


# --- what they say ---


@by_each_verifier
def test_during_a_rotation_whoever_holds_either_secret_or_the_public_key_accepts(
    sent: list[Sent], verifier: Verifier, places: Sequence[int]
) -> None:
    for place in places:
        assert verifier([one.received(place) for one in sent]) == [True] * MESSAGES


@by_each_verifier
def test_whoever_holds_anothers_refuses(
    rng: random.Random, sent: list[Sent], verifier: Verifier, places: Sequence[int]
) -> None:
    anothers = sent_messages(rng, unlocked(rng))
    for place in places:
        received = [Received(one.message, other.may_hold[place]) for one, other in zip(sent, anothers, strict=True)]
        assert verifier(received) == [False] * MESSAGES


@by_each_verifier
def test_each_of_a_thousand_flipped_bits_is_refused(
    rng: random.Random, sent: list[Sent], verifier: Verifier, places: Sequence[int]
) -> None:
    changed = thousand_changes(rng, sent, places)
    assert len({received for _, received in changed}) == 1000
    unchanged = [one.received(place) for one in sent for place in places]
    # The unchanged ones in the same breath: all are refused for the bit, and not for something that goes for all.
    verdicts = verifier([received for _, received in changed] + unchanged)
    wrongly = Counter(field for (field, _), accepted in zip(changed, verdicts, strict=False) if accepted)
    assert wrongly == Counter()
    assert verdicts[1000:] == [True] * len(unchanged)
    assert len(verdicts) == 1000 + len(unchanged)
