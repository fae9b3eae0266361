"""The RTSP parser takes bytes in any pieces, and hostile ones with one error of its own."""

from __future__ import annotations

import contextlib
import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_lab.cameras.digest import REALM, Login, accepts
from understudy_lab.cameras.rtsp import Request, RtspError, RtspParser, response

WHOLE = (
    b"OPTIONS rtsp://h/cam-1 RTSP/1.0\r\nCSeq: 1\r\n\r\n"
    b"$\x01\x00\x04abcd"
    b"\r\nGET_PARAMETER rtsp://h/cam-1 RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 4\r\n\r\n$\r\n\r"
    b"$\x00\x00\x00"
    b"PLAY rtsp://h/cam-1/ RTSP/1.0\r\nCSeq:3\r\nSESSION: abc\r\n\r\n"
)
EXPECTED = [
    Request("OPTIONS", "rtsp://h/cam-1", {"cseq": "1"}),
    Request("GET_PARAMETER", "rtsp://h/cam-1", {"cseq": "2", "content-length": "4"}, b"$\r\n\r"),
    Request("PLAY", "rtsp://h/cam-1/", {"cseq": "3", "session": "abc"}),
]

pieces = (
    b"OPTIONS| |rtsp://h/c| RTSP/1.0|\r\n|\r\n\r\n|$|\0|Content-Length: |-1|99999999999|7|CSeq: |:|\xff"
    b"|rtsp://[|%00|*"
).split(b"|")
hostile = st.lists(st.sampled_from(pieces) | st.binary(max_size=20), max_size=40).map(b"".join)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=20))
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    parser = RtspParser()
    edges = [0, *sorted(cuts), len(WHOLE)]
    found = [request for at, end in pairwise(edges) for request in parser.feed(WHOLE[at:end])]
    assert found == EXPECTED


@given(st.lists(hostile, max_size=5))
def test_hostile_input_raises_only_its_own_error(pieces: list[bytes]) -> None:
    parser = RtspParser()
    with contextlib.suppress(RtspError):
        for piece in pieces:
            for request in parser.feed(piece):
                assert all(isinstance(part, str) for part in request.path)
                answer = response(200, request, {})
                assert answer.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize(
    "data",
    [
        b"A" * 20_000,
        b"OPTIONS * RTSP/1.0\r\n" + b"X: y\r\n" * 4000,
        b"GET / HTTP/1.1\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\nContent-Length: -5\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\nContent-Length: 1000000\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\nno colon\r\n\r\n",
        b"OPTIONS \xff RTSP/1.0\r\n\r\n",
    ],
)
def test_what_is_no_rtsp_is_refused(data: bytes) -> None:
    with pytest.raises(RtspError):
        RtspParser().feed(data)


def test_answer_cannot_be_split_by_the_request() -> None:
    request = Request("OPTIONS", "*", {"cseq": "1\r\nX: y"})
    assert response(200, request, {}) == b"RTSP/1.0 200 OK\r\n\r\n"
    assert response(401, Request("PLAY", "*", {"cseq": "7"}), {}).startswith(
        b"RTSP/1.0 401 Unauthorized\r\nCSeq: 7\r\n"
    )


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def proof(password: str, nonce: str, url: str, qop: str = "") -> str:
    middle = f"{nonce}:{qop}" if qop else nonce
    answer = md5(f"{md5(f'u:{REALM}:{password}')}:{middle}:{md5(f'PLAY:{url}')}")
    fields = f'username="u", realm="{REALM}", nonce="{nonce}", uri="{url}", response="{answer}"'
    if qop:
        nc, cnonce, kind = qop.split(":")
        fields += f', nc={nc}, cnonce="{cnonce}", qop={kind}'
    return f"Digest {fields}"


def test_digest_accepts_the_password_and_nothing_else() -> None:
    login = Login("u", "secret")
    url = "rtsp://h/cam-1"
    assert accepts(login, "n", "PLAY", url, proof("secret", "n", url))
    assert accepts(login, "n", "PLAY", url, proof("secret", "n", url, "00000001:abc:auth"))
    assert not accepts(login, "n", "PLAY", url, proof("wrong", "n", url))
    assert not accepts(login, "other", "PLAY", url, proof("secret", "n", url))
    assert not accepts(login, "n", "PLAY", "rtsp://h/cam-2", proof("secret", "n", url))
    assert not accepts(login, "n", "SETUP", url, proof("secret", "n", url))
    assert not accepts(login, "n", "PLAY", url, "")
    assert not accepts(login, "n", "PLAY", url, "Basic dTpzZWNyZXQ=")


@given(st.text(max_size=100))
def test_digest_of_rubbish_is_refused(text: str) -> None:
    assert not accepts(Login("u", "p"), "n", "PLAY", "*", "Digest " + text)
