"""What is sealed opens for its own purpose and owner and with its own keyset, and for nothing else; what is signed is
verified by the one public key of the keyset. The keyset opens with its master key, also as the previous one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.errors import ConfigurationError
from service.vault import SealBroken, Vault, known_default, new_master_key

MASTER_KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_MASTER_KEY = base64.b64encode(bytes(range(1, 33))).decode()
SECRET = "pk-live-0123456789abcdef"


def vault(master_key: str = MASTER_KEY, seed: int = 1) -> Vault:
    """One whose keyset goes with its master key: that of an earlier release."""
    vault = Vault(master_key, random.Random(seed))
    vault.unlock(None, sealed_before=sealed_before(master_key))
    return vault


def sealed_before(master_key: str) -> bytes:
    """As an earlier release sealed: with keys derived from the master key (RFC 5869), and its id in front."""
    key = base64.b64decode(master_key)
    nonce = bytes(12)
    ciphertext = AESGCM(derived(key, b"seal")).encrypt(nonce, SECRET.encode(), b"PhotoGPT key|ten_1")
    return hashlib.sha256(key).digest()[:4] + nonce + ciphertext


def derived(key: bytes, use: bytes) -> bytes:
    return hmac.digest(
        hmac.digest(bytes(32), key, hashlib.sha256), b"photogpt-webhooks/" + use + b"\x01", hashlib.sha256
    )


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


def test_it_opens_with_no_other_keyset() -> None:
    with pytest.raises(SealBroken, match="the PhotoGPT key was sealed with keys that this installation does not have"):
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

    def test_needs_the_keyset(self) -> None:
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
        seed = derived(base64.b64decode(MASTER_KEY), b"ed25519")
        assert vault().public_key == Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()

    def test_needs_the_keyset(self) -> None:
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
        same = Vault(spelling, random.Random(1))
        same.unlock(None, sealed_before=seal())
        assert same.open(seal(), purpose="PhotoGPT key", owner="ten_1") == SECRET

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
        for arguments, setting in (
            ((wrong,), "GATEWAY_MASTER_KEY"),
            ((MASTER_KEY, wrong), "GATEWAY_PREVIOUS_MASTER_KEY"),
        ):
            with pytest.raises(ConfigurationError) as refused:
                Vault(arguments[0], random.Random(1), *arguments[1:])
            assert str(refused.value) == (
                f"{setting} must be base64 of 32 bytes; make one with `photogpt-webhooks keygen`."
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


# --- the keyset ---


def new_installation(master_key: str = MASTER_KEY, seed: int = 1) -> tuple[Vault, bytes]:
    """A vault that was unlocked for the first time, and what it would have stored."""
    one = Vault(master_key, random.Random(seed))
    stored = one.unlock(None)
    assert stored is not None
    return one, stored


def reopened(stored: bytes, master_key: str = MASTER_KEY, previous: str | None = None) -> Vault:
    again = Vault(master_key, random.Random(9), previous)
    assert again.unlock(stored) is None
    return again


def same_keys(one: Vault, other: Vault) -> bool:
    text = other.open(one.seal(SECRET, purpose="p", owner="o"), purpose="p", owner="o")
    return (text, one.fingerprint("x"), one.public_key, one.sign(b"x")) == (
        SECRET,
        other.fingerprint("x"),
        other.public_key,
        other.sign(b"x"),
    )


@pytest.mark.parametrize(
    "use",
    [
        lambda locked: locked.seal("x", purpose="p", owner="o"),
        lambda locked: locked.open(seal(), purpose="PhotoGPT key", owner="ten_1"),
        lambda locked: locked.fingerprint("x"),
        lambda locked: locked.sign(b"x"),
        lambda locked: locked.public_key,
        lambda locked: locked.public_key_id,
    ],
)
def test_a_locked_vault_does_nothing(use: Callable[[Vault], object]) -> None:
    with pytest.raises(RuntimeError, match="before it was unlocked"):
        use(Vault(MASTER_KEY, random.Random(1)))


class TestKeyset:
    def test_is_random_and_owes_nothing_to_the_master_key(self) -> None:
        made = [new_installation(seed=seed)[0] for seed in range(50)]
        assert len({one.public_key for one in made}) == 50
        assert len({one.fingerprint("x") for one in made}) == 50
        assert not any(one.public_key == vault().public_key for one in made)

    def test_opens_again_with_its_master_key(self) -> None:
        one, stored = new_installation()
        assert same_keys(one, reopened(stored))

    def test_opens_with_its_master_key_as_the_previous_one(self) -> None:
        one, stored = new_installation()
        assert same_keys(one, reopened(stored, OTHER_MASTER_KEY, MASTER_KEY))

    @pytest.mark.parametrize("previous", [None, base64.b64encode(bytes(32)).decode(), OTHER_MASTER_KEY])
    def test_opens_with_no_other(self, previous: str | None) -> None:
        _, stored = new_installation()
        with pytest.raises(ConfigurationError, match="not the one that this database was sealed with"):
            Vault(OTHER_MASTER_KEY, random.Random(1), previous).unlock(stored)

    def test_sealed_anew_it_opens_with_the_new_master_key_alone(self) -> None:
        one, stored = new_installation()
        both = Vault(OTHER_MASTER_KEY, random.Random(2), MASTER_KEY)
        assert not both.is_current(stored)
        renewed = both.rewrapped(stored)
        assert renewed is not None
        assert both.is_current(renewed)
        assert both.rewrapped(renewed) is None
        assert same_keys(one, reopened(renewed, OTHER_MASTER_KEY))
        with pytest.raises(ConfigurationError, match="not the one"):
            reopened(renewed)

    def test_keeps_what_a_later_release_put_into_it(self) -> None:
        both = Vault(OTHER_MASTER_KEY, random.Random(2), MASTER_KEY)
        _, stored = new_installation()
        plain = json.loads(both._plain(stored)) | {"later": "more"}
        renewed = both.rewrapped(Vault(MASTER_KEY, random.Random(3))._wrapped(json.dumps(plain).encode()))
        assert renewed is not None
        assert json.loads(both._plain(renewed)) == plain

    def test_of_another_format_is_refused(self) -> None:
        _, stored = new_installation()
        one = Vault(MASTER_KEY, random.Random(2))
        plain = json.loads(one._plain(stored)) | {"format": 2}
        with pytest.raises(ConfigurationError, match="newer release"):
            one.unlock(one._wrapped(json.dumps(plain).encode()))

    def test_one_altered_bit_is_refused(self) -> None:
        _, stored = new_installation()
        for bit in range(8 * len(stored)):
            altered = (int.from_bytes(stored) ^ (1 << bit)).to_bytes(len(stored))
            with pytest.raises(ConfigurationError, match=r"damaged|not the one"):
                Vault(MASTER_KEY, random.Random(1)).unlock(altered)

    def test_is_nowhere_plain(self) -> None:
        _, stored = new_installation()
        keys = json.loads(Vault(MASTER_KEY, random.Random(1))._plain(stored))
        for key in (keys["pepper"], keys["ed25519"], *keys["data_keys"].values()):
            assert key.encode() not in stored
            assert base64.b64decode(key) not in stored


class TestEarlierRelease:
    def test_what_it_sealed_opens(self) -> None:
        for one in (vault(), reopened(self.stored())):
            assert one.open(sealed_before(MASTER_KEY), purpose="PhotoGPT key", owner="ten_1") == SECRET

    def test_tenants_keep_their_ids_and_receivers_their_public_key(self) -> None:
        assert vault().fingerprint("pgpt-key") == "381cdfe8c89a53a0d080719ae1b1db02"
        assert vault().public_key_id == "whk_899bc5f9487eba0d"

    def test_it_opens_what_is_sealed_now_while_both_run(self) -> None:
        sealed = vault().seal(SECRET, purpose="PhotoGPT key", owner="ten_1")
        key = base64.b64decode(MASTER_KEY)
        assert sealed[:4] == hashlib.sha256(key).digest()[:4]
        opened = AESGCM(derived(key, b"seal")).decrypt(sealed[4:16], sealed[16:], b"PhotoGPT key|ten_1")
        assert opened.decode() == SECRET

    def test_upgraded_with_a_new_master_key_its_keys_are_those_of_the_previous(self) -> None:
        both = Vault(OTHER_MASTER_KEY, random.Random(1), MASTER_KEY)
        stored = both.unlock(None, sealed_before=sealed_before(MASTER_KEY))
        assert stored is not None
        assert same_keys(vault(), both)
        assert same_keys(vault(), reopened(stored, OTHER_MASTER_KEY))

    def test_upgraded_with_another_master_key_alone_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="not the one that this database was sealed with"):
            Vault(OTHER_MASTER_KEY, random.Random(1)).unlock(None, sealed_before=sealed_before(MASTER_KEY))

    @staticmethod
    def stored() -> bytes:
        stored = Vault(MASTER_KEY, random.Random(1)).unlock(None, sealed_before=sealed_before(MASTER_KEY))
        assert stored is not None
        return stored


# --- keys that everybody knows ---

_TEXT = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "key",
    [
        bytes(32),
        b"\xff" * 32,
        b"A" * 32,
        bytes(range(32)),
        bytes(range(32))[::-1],
        bytes(range(1, 33)),
        bytes(range(0, 64, 2)),
        b"\x01\x02" * 16,
        bytes(range(200, 216)) * 2,
        _TEXT.encode(),
        b"changeme-changeme-changeme-chang",
        b"this is a secret of 32 bytes !!!",
        base64.b64decode("changeMe" + "Xk3vQ9" * 5 + "abcd0="[:6], validate=False)[:32].ljust(32, b"\x07"),
        base64.b64decode("ReplaceMeWithYourOwnKeyGdT8kPq2LxV5nZ7cBwM4="),
    ],
)
def test_an_example_is_known(key: bytes) -> None:
    assert known_default(base64.b64encode(key).decode())


def test_no_key_that_keygen_makes_is_taken_for_an_example() -> None:
    rng = random.Random(20261123)
    assert [key for key in (new_master_key(rng) for _ in range(20_000)) if known_default(key)] == []


def test_every_master_key_in_what_we_ship_is_an_example() -> None:
    root = Path(__file__).parents[1]
    files = [root / "README.md", *(root / "deploy").rglob("*"), *(root / "docs").rglob("*.md")]
    spelled = re.compile(r"MASTER_KEY\"?\s*[:=]\s*\"?([A-Za-z0-9+/]{43}=)")
    texts = [path.read_text(encoding="utf-8") for path in files if path.is_file() and path.suffix != ".pyc"]
    found = [key for text in texts for key in spelled.findall(text)]
    assert [key for key in found if not known_default(key)] == []
