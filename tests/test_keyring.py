"""What deliveries are signed with and carry opens for its owner alone, and for no other master key."""

from __future__ import annotations

import base64
import hashlib
import random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from service.domain.secret import Secret
from service.domain.signature import secret_bytes
from service.keyring import Keyring
from service.storage.due_delivery import DueDelivery, Target
from service.vault import SealBroken, Vault

MASTER_KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_MASTER_KEY = base64.b64encode(bytes(range(1, 33))).decode()
TENANT, ENDPOINT, CALLBACK = "ten_1", "whe_1", "cbk_1"
HEADERS = {"authorization": "Bearer receiver-token"}


def keyring(master_key: str = MASTER_KEY, seed: int = 1) -> Keyring:
    """Of an installation whose keyset goes with its master key."""
    rng = random.Random(seed)
    vault = Vault(master_key, rng)
    vault.unlock(None, sealed_before=hashlib.sha256(base64.b64decode(master_key)).digest()[:4])
    return Keyring(vault, rng)


def due(*sealed: bytes, tenants: tuple[bytes, ...] = (), owner: str = ENDPOINT) -> DueDelivery:
    """A delivery to a target with these secrets, of a tenant with those."""
    return DueDelivery(
        id="dlv_1",
        fence=1,
        attempt_id="att_1",
        attempts_made=0,
        is_retry=False,
        event_id="evt_1",
        training_id=None,
        tenant_id=TENANT,
        host="receiver.example:443",
        body=b"{}",
        target=Target(owner, "https://receiver.example/", sealed, None, owner == ENDPOINT),
        sealed_tenant_secrets=tenants,
        schedule=None,
    )


def test_new_secrets_are_different_and_as_the_official_library_wants_them() -> None:
    ring = keyring()
    secrets = [ring.new_secret() for _ in range(100)]
    assert len(set(secrets)) == 100
    assert {len(secret_bytes(secret)) for secret in secrets} == {32}
    Webhook(secrets[0])


def test_a_secret_opens_for_its_owner_after_a_restart() -> None:
    secret = keyring().new_secret()
    sealed = keyring().seal_secret(ENDPOINT, secret)
    assert keyring(seed=2).open_secret(ENDPOINT, sealed) == Secret(secret)
    assert base64.b64decode(secret.removeprefix("whsec_")) not in sealed
    assert secret.encode() not in sealed


@pytest.mark.parametrize("owner", ["whe_2", TENANT, CALLBACK, ""])
def test_nothing_opens_for_another_owner(owner: str) -> None:
    ring = keyring()
    with pytest.raises(SealBroken):
        ring.open_secret(owner, ring.seal_secret(ENDPOINT, ring.new_secret()))
    with pytest.raises(SealBroken):
        ring.headers_of(owner, ring.seal_headers(ENDPOINT, HEADERS))


def test_nothing_opens_with_another_keyset() -> None:
    other = keyring(OTHER_MASTER_KEY)
    with pytest.raises(SealBroken, match="does not have"):
        other.open_secret(ENDPOINT, keyring().seal_secret(ENDPOINT, keyring().new_secret()))
    with pytest.raises(SealBroken, match="does not have"):
        other.headers_of(ENDPOINT, keyring().seal_headers(ENDPOINT, HEADERS))


def test_headers_are_no_secret_and_a_secret_is_no_headers() -> None:
    ring = keyring()
    sealed = ring.seal_headers(ENDPOINT, HEADERS)
    assert sealed is not None
    with pytest.raises(SealBroken):
        ring.open_secret(ENDPOINT, sealed)
    with pytest.raises(SealBroken):
        ring.headers_of(ENDPOINT, ring.seal_secret(ENDPOINT, ring.new_secret()))


def test_an_erased_secret_does_not_open() -> None:
    with pytest.raises(SealBroken):
        keyring().open_secret(ENDPOINT, b"")


@settings(deadline=None)
@given(headers=st.dictionaries(st.text(min_size=1, max_size=10), st.text(max_size=10), min_size=1, max_size=5))
def test_any_headers_come_back_as_they_were(headers: dict[str, str]) -> None:
    opened = keyring(seed=2).headers_of(ENDPOINT, keyring().seal_headers(ENDPOINT, headers))
    assert {name: value.reveal() for name, value in opened.items()} == headers


def test_no_headers_are_nothing() -> None:
    assert keyring().seal_headers(ENDPOINT, {}) is None
    assert keyring().headers_of(ENDPOINT, None) == {}


def test_a_target_signs_with_its_own_secrets_and_without_any_with_its_tenants() -> None:
    ring = keyring()
    new, old, mine, former = (ring.new_secret() for _ in range(4))
    own = [ring.seal_secret(ENDPOINT, secret) for secret in (new, old)]
    tenants = (ring.seal_secret(TENANT, mine), ring.seal_secret(TENANT, former))
    assert ring.secrets_of(due(*own, tenants=tenants)) == [Secret(new), Secret(old)]
    assert ring.secrets_of(due(own[0], tenants=tenants)) == [Secret(new)]
    assert ring.secrets_of(due(tenants=tenants, owner=CALLBACK)) == [Secret(mine), Secret(former)]


def test_one_targets_secret_never_signs_for_another() -> None:
    ring = keyring()
    sealed = ring.seal_secret(ENDPOINT, ring.new_secret())
    with pytest.raises(SealBroken):
        ring.secrets_of(due(sealed, owner="whe_2"))
    with pytest.raises(SealBroken):
        ring.secrets_of(due(tenants=(sealed,), owner=CALLBACK))


def test_the_published_key_verifies_what_is_signed_and_nothing_else() -> None:
    [key] = keyring().public_keys()
    assert keyring(seed=2).public_keys() == [key]
    assert keyring(OTHER_MASTER_KEY).public_keys() != [key]
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.public_key.removeprefix("whpk_"), validate=True))
    public.verify(keyring().sign(b"data"), b"data")
    with pytest.raises(InvalidSignature):
        public.verify(keyring(OTHER_MASTER_KEY).sign(b"data"), b"data")
