"""What is sealed opens for its own purpose, owner and master key, and for nothing else; what is signed is verified by
the one public key that goes with the master key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.errors import ConfigurationError
from service.vault import SealBroken, Vault, new_master_key

MASTER_KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_MASTER_KEY = base64.b64encode(bytes(range(1, 33))).decode()
SECRET = "pk-live-0123456789abcdef"


def vault(master_key: str = MASTER_KEY, seed: int = 1) -> Vault:
    return Vault(master_key, random.Random(seed))


def seal(text: str = SECRET) -> bytes:
    return vault().seal(text, purpose="PhotoGPT key", owner="ten_1")


def test_what_was_sealed_opens() -> None:
    assert vault(seed=2).open(seal(), purpose="PhotoGPT key", owner="ten_1") == SECRET


@settings(deadline=None)
@given(text=st.text(), purpose=st.text("abc "), owner=st.text("abc_1"))
def test_any_text_opens_as_it_was(text: str, purpose: str, owner: str) -> None:
    sealed = vault().seal(text, purpose=purpose, owner=owner)
    assert vault().open(sealed, purpose=purpose, owner=owner) == text


@pytest.mark.parametrize(
    ("purpose", "owner"),
    [("signing secret", "ten_1"), ("PhotoGPT key", "ten_2"), ("PhotoGPT key", ""), ("", "ten_1"), ("", "")],
)
def test_it_opens_for_no_other_purpose_or_owner(purpose: str, owner: str) -> None:
    with pytest.raises(SealBroken, match="does not belong here or was altered"):
        vault().open(seal(), purpose=purpose, owner=owner)


def test_it_opens_with_no_other_master_key() -> None:
    with pytest.raises(SealBroken, match="the PhotoGPT key was sealed with another master key"):
        vault(OTHER_MASTER_KEY).open(seal(), purpose="PhotoGPT key", owner="ten_1")


def test_not_even_one_that_claims_to_be_the_same() -> None:
    key_id = vault(OTHER_MASTER_KEY).seal("", purpose="", owner="")[:4]
    with pytest.raises(SealBroken):
        vault(OTHER_MASTER_KEY).open(key_id + seal()[4:], purpose="PhotoGPT key", owner="ten_1")


def opens(sealed: bytes) -> bool:
    try:
        vault().open(sealed, purpose="PhotoGPT key", owner="ten_1")
    except SealBroken:
        return False
    return True


def test_one_other_bit_anywhere_breaks_the_seal() -> None:
    sealed = seal()
    flipped = [(int.from_bytes(sealed) ^ (1 << bit)).to_bytes(len(sealed)) for bit in range(8 * len(sealed))]
    assert opens(sealed)
    assert [altered for altered in flipped if opens(altered)] == []


def test_a_part_of_it_breaks_the_seal() -> None:
    assert [length for length in range(len(seal())) if opens(seal()[:length])] == []


def test_more_than_it_breaks_the_seal() -> None:
    assert not opens(seal() + b"\x00")


@pytest.mark.parametrize("part", [SECRET, SECRET[:8], "PhotoGPT", "ten_1", base64.b64encode(SECRET.encode()).decode()])
def test_nothing_plain_is_in_it(part: str) -> None:
    assert part.encode() not in seal()


def test_the_same_text_is_never_sealed_alike() -> None:
    one = vault()
    sealed = {one.seal(SECRET, purpose="p", owner="o") for _ in range(1000)}
    assert len({bytes_[4:16] for bytes_ in sealed}) == 1000


def test_a_broken_seal_is_told_without_its_content() -> None:
    with pytest.raises(SealBroken) as broken:
        vault().open(seal(), purpose="signing secret", owner="ten_1")
    assert str(broken.value) == "the sealed signing secret does not belong here or was altered"


class TestFingerprint:
    def test_is_32_hexadecimal_digits_and_always_the_same(self) -> None:
        fingerprint = vault(seed=1).fingerprint(SECRET)
        assert len(fingerprint) == 32
        assert int(fingerprint, 16) > 0
        assert vault(seed=2).fingerprint(SECRET) == fingerprint

    @pytest.mark.parametrize("other", [SECRET + "0", SECRET[:-1], SECRET.upper(), f" {SECRET}", ""])
    def test_of_another_text_is_another(self, other: str) -> None:
        assert vault().fingerprint(other) != vault().fingerprint(SECRET)

    def test_needs_the_master_key(self) -> None:
        assert vault(OTHER_MASTER_KEY).fingerprint(SECRET) != vault().fingerprint(SECRET)


class TestSigningKey:
    def test_is_the_same_in_every_replica_and_at_every_start(self) -> None:
        one, other = vault(seed=1), vault(seed=2)
        assert (one.public_key, one.public_key_id) == (other.public_key, other.public_key_id)
        assert one.sign(b"data") == other.sign(b"data")

    def test_is_the_same_in_every_release(self) -> None:
        """Receivers have kept it."""
        assert vault().public_key.hex() == "dc4f14829f51e4bf90296e6a4bb3276b73bce7ee92403de4a8d3e3aa470bbf69"
        assert vault().public_key_id == "whk_899bc5f9487eba0d"

    def test_is_derived_from_the_master_key_as_rfc_5869_says(self) -> None:
        extracted = hmac.digest(bytes(32), base64.b64decode(MASTER_KEY), hashlib.sha256)
        seed = hmac.digest(extracted, b"photogpt-webhooks/ed25519\x01", hashlib.sha256)
        assert vault().public_key == Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()

    def test_needs_the_master_key(self) -> None:
        assert vault(OTHER_MASTER_KEY).public_key != vault().public_key
        assert vault(OTHER_MASTER_KEY).public_key_id != vault().public_key_id
        assert vault(OTHER_MASTER_KEY).sign(b"data") != vault().sign(b"data")

    def test_has_an_id_that_tells_it_from_others(self) -> None:
        assert vault().public_key_id == "whk_" + hashlib.sha256(vault().public_key).hexdigest()[:16]

    @settings(deadline=None)
    @given(data=st.binary())
    def test_signs_what_its_public_key_verifies(self, data: bytes) -> None:
        signature = vault().sign(data)
        assert (len(signature), len(vault().public_key)) == (64, 32)
        Ed25519PublicKey.from_public_bytes(vault().public_key).verify(signature, data)

    @pytest.mark.parametrize("other", [b"", b"dat", b"data ", b"Data"])
    def test_signs_nothing_else_with_it(self, other: bytes) -> None:
        with pytest.raises(InvalidSignature):
            Ed25519PublicKey.from_public_bytes(vault().public_key).verify(vault().sign(b"data"), other)


class TestMasterKey:
    @pytest.mark.parametrize("spelling", [MASTER_KEY, f"{MASTER_KEY}\n", f"  {MASTER_KEY}  "])
    def test_is_base64_of_32_bytes(self, spelling: str) -> None:
        assert vault(spelling).open(seal(), purpose="PhotoGPT key", owner="ten_1") == SECRET

    @pytest.mark.parametrize(
        "wrong",
        [
            "",
            " ",
            "secret",
            base64.b64encode(bytes(31)).decode(),
            base64.b64encode(bytes(33)).decode(),
            MASTER_KEY[:-1],
            MASTER_KEY[:20] + " " + MASTER_KEY[20:],
            base64.urlsafe_b64encode(b"\xff" * 32).decode(),
            bytes(32).hex(),
            "é" * 44,
            MASTER_KEY * 2,
        ],
    )
    def test_in_any_other_form_is_refused_without_repeating_it(self, wrong: str) -> None:
        with pytest.raises(ConfigurationError) as refused:
            vault(wrong)
        assert str(refused.value) == (
            "GATEWAY_MASTER_KEY must be base64 of 32 bytes; make one with `photogpt-webhooks keygen`."
        )

    def test_a_new_one_is_random_and_works(self) -> None:
        rng = random.Random(1)
        keys = {new_master_key(rng) for _ in range(100)}
        assert len(keys) == 100
        assert {len(base64.b64decode(key)) for key in keys} == {32}
        for key in keys:
            assert vault(key).open(vault(key).seal("x", purpose="p", owner="o"), purpose="p", owner="o") == "x"

    def test_a_vault_shows_none_of_it(self) -> None:
        shown = repr(vault()) + str(vault())
        assert MASTER_KEY not in shown
