"""A body is read in the codings that servers use, and never grows beyond the limit."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from itertools import pairwise

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.photogpt.decoding import decoded


def _raw_deflate(body: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()


CODERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda body: body,
    "identity": lambda body: body,
    "gzip": gzip.compress,
    " GZip ": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": _raw_deflate,
    "br": brotli.compress,
}
LIMIT = 1000


@pytest.mark.parametrize("coding", CODERS)
@given(body=st.binary(max_size=LIMIT), cuts=st.lists(st.integers(0, LIMIT), max_size=4))
def test_what_was_coded_is_read_however_it_was_cut(coding: str, body: bytes, cuts: list[int]) -> None:
    coded = CODERS[coding](body)
    places = [0, *sorted(cuts), len(coded)]
    chunks = [coded[start:end] for start, end in pairwise(places)]
    assert decoded(chunks, coding, LIMIT) == body


@pytest.mark.parametrize("coding", CODERS)
def test_what_is_longer_than_the_limit_is_not_read(coding: str) -> None:
    coder = CODERS[coding]
    assert decoded([coder(b"x" * LIMIT)], coding, LIMIT) == b"x" * LIMIT
    for length in (LIMIT + 1, 50_000_000):
        assert decoded([coder(b"x" * length)], coding, LIMIT) is None


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
@given(cut=st.integers(1, 20))
def test_what_is_cut_off_is_not_read(coding: str, cut: int) -> None:
    assert decoded([CODERS[coding](bytes(range(256)))[:-cut]], coding, LIMIT) is None


@given(body=st.binary(max_size=200), coding=st.sampled_from(["gzip", "deflate", "br", "zstd", "gzip, br", "x"]))
def test_whatever_is_no_such_coding_is_not_read(body: bytes, coding: str) -> None:
    assert decoded([b"\xff", body], coding, 50) is None
