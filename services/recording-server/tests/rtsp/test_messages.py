import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_recording_server.rtsp.messages import (
    LONGEST_BODY_BYTES,
    Message,
    NotRtsp,
    answer,
    request,
    take_message,
)


def _taken(raw: bytes, at: int = 0) -> Message:
    found = take_message(raw, at)
    assert found is not None
    message, end = found
    assert end == len(raw)
    return message


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("RTSP/1.0 200 OK", 200),
        ("RTSP/1.0 200", 200),
        ("RTSP/1.0 200 ", 200),
        ("RTSP/2.0 461 Unsupported Transport", 461),
        ("RTSP/1.0 401 Nicht erlaubt: ü", 401),
        ("RTSP/1.0 100 Continue", 100),
    ],
)
def test_status_lines_as_cameras_send_them(line: str, status: int) -> None:
    message = _taken(f"{line}\r\n\r\n".encode())
    assert (message.status, message.method) == (status, "")


@pytest.mark.parametrize(
    "line",
    [
        "RTSP/1.0 20 OK",
        "RTSP/1.0 2000 OK",
        "RTSP/1.0 600 Strange",
        "RTSP/1.0 000 Strange",
        "RTSP/1.0 two OK",
        "RTSP/1.0 \u0662\u0660\u0660 OK",
        "RTSP/10 200 OK",
        "RTSP/3.0 200 OK",
        "rtsp/1.0 200 OK",
        "HTTP/1.1 400 Bad Request",
        "options * RTSP/1.0",
        "OPTIONS RTSP/1.0",
        "OPTIONS * HTTP/1.1",
        "OPTIONS * RTSP/1.0 more",
        "OPTIONS a b RTSP/1.0",
        f"OPTIONS {'x' * 2049} RTSP/1.0",
        f"{'X' * 33} * RTSP/1.0",
        "GET / HTTP/1.1",
    ],
)
def test_other_first_lines_are_no_rtsp(line: str) -> None:
    with pytest.raises(NotRtsp):
        take_message(f"{line}\r\n\r\n".encode(), 0)


def test_a_request_of_the_camera_is_told_by_its_method() -> None:
    message = _taken(b"GET_PARAMETER rtsp://host/stream RTSP/1.0\r\nCSeq: 7\r\n\r\n")
    assert (message.status, message.method, message.header("cseq")) == (0, "GET_PARAMETER", "7")


def test_names_of_headers_have_no_case_and_all_values_are_kept() -> None:
    raw = b"RTSP/1.0 401 No\r\nWWW-Authenticate: Digest a\r\ncseq:3\r\nwww-AUTHENTICATE:  Basic b \r\n\r\n"
    message = _taken(raw)
    assert message.headers["www-authenticate"] == ["Digest a", "Basic b"]
    assert message.header("www-authenticate") == "Basic b"
    assert message.header("cseq") == "3"
    assert message.header("session") == ""


def test_values_keep_their_colons_and_lines_without_one_harm_nothing() -> None:
    raw = b"RTSP/1.0 200 OK\r\nContent-Base: rtsp://h:554/a\r\nnonsense\r\n: empty\r\n\r\n"
    message = _taken(raw)
    assert message.header("content-base") == "rtsp://h:554/a"
    assert message.header("nonsense") == ""


def test_a_message_in_the_middle_ends_where_the_next_one_begins() -> None:
    raw = b"xxxRTSP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbodyRTSP/1.0 404 No\r\n\r\n"
    found = take_message(raw, 3)
    assert found is not None
    assert found[0].body == b"body"
    assert _taken(raw, found[1]).status == 404


@pytest.mark.parametrize(
    "length", ["-1", "+1", "1e3", "0x10", "1.0", "ten", "", "4 4", str(LONGEST_BODY_BYTES + 1), "9" * 5000,
               "\u0663", "1_0"]
)  # fmt: skip
def test_a_hostile_length_is_refused(length: str) -> None:
    with pytest.raises(NotRtsp):
        take_message(f"RTSP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\nabcdefghijklmnop".encode(), 0)


def test_of_two_lengths_the_last_one_counts() -> None:
    raw = b"RTSP/1.0 200 OK\r\nContent-Length: 1\r\ncontent-length: 3\r\n\r\nabc"
    assert _taken(raw).body == b"abc"


def test_without_a_length_there_is_no_body() -> None:
    found = take_message(b"RTSP/1.0 200 OK\r\n\r\n$\x00\x00\x00", 0)
    assert found is not None
    assert (found[0].body, found[1]) == (b"", len(b"RTSP/1.0 200 OK\r\n\r\n"))


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_message_or_the_beginning_of_one_or_no_rtsp(data: bytes, as_headers: bool) -> None:
    raw = b"RTSP/1.0 200 OK\r\n" + data + b"\r\n\r\n" if as_headers else data
    try:
        found = take_message(raw, 0)
    except NotRtsp:
        return
    assert found is None or found[1] <= len(raw)


def test_our_requests_are_numbered_and_whole() -> None:
    raw = request("SETUP", "rtsp://h/a", 12, {"Transport": "RTP/AVP/TCP", "Session": "5"})
    message = _taken(raw)
    assert raw.startswith(b"SETUP rtsp://h/a RTSP/1.0\r\n")
    assert message.method == "SETUP"
    assert [message.header(name) for name in ("cseq", "transport", "session")] == ["12", "RTP/AVP/TCP", "5"]


@pytest.mark.parametrize("method", ["OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "ANNOUNCE"])
@pytest.mark.parametrize("number", ["0", "42", "4294967295"])
def test_a_camera_that_asks_whether_we_are_alive_is_answered_with_its_number(
    method: str, number: str
) -> None:
    asked = _taken(f"{method} * RTSP/1.0\r\nCSeq: {number}\r\n\r\n".encode())
    answered = _taken(answer(asked))
    assert (answered.status, answered.header("cseq")) == (200, number)


@pytest.mark.parametrize("method", ["REDIRECT", "PLAY", "TEARDOWN", "X"])
def test_a_camera_that_asks_for_more_is_told_that_we_cannot(method: str) -> None:
    answered = _taken(answer(_taken(f"{method} * RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())))
    assert (answered.status, answered.header("cseq")) == (501, "1")


@given(st.binary(max_size=40).filter(lambda value: b"\n" not in value) | st.just(b"1\nEvil: yes"))
def test_nothing_but_a_number_gets_into_our_answer(sequence: bytes) -> None:
    asked = _taken(b"OPTIONS * RTSP/1.0\r\nCSeq: " + sequence + b"\r\n\r\n")
    lines = answer(asked).decode("ascii").split("\r\n")
    assert lines[0] == "RTSP/1.0 200 OK"
    assert lines[-2:] == ["", ""]
    assert len(lines) <= 4
    for line in lines[1:-2]:
        name, _, number = line.partition(": ")
        assert name == "CSeq"
        assert number.isascii()
        assert number.isdigit()
