from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from understudy_lab.cameras import digest
from understudy_recording_server.rtsp import conversation
from understudy_recording_server.rtsp.conversation import (
    DEFAULT_SESSION_S,
    Channel,
    ConnectionEnded,
    Conversation,
    Refused,
)
from understudy_recording_server.rtsp.description import Media
from understudy_recording_server.rtsp.login import Login
from understudy_recording_server.rtsp.messages import Message, NotRtsp
from understudy_recording_server.rtsp.wire import Wire

URL = "rtsp://camera/stream"
PATIENCE_S = 10.0
SHORT_S = 0.2
VIDEO = Media("video", 96, "H264", control="trackID=0")
SOUND = Media("audio", 97, "MPEG4-GENERIC", control="trackID=1")


class Camera:
    """The other end of the connection: hears requests, says what a test's script wants."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._wire = Wire()
        self._waiting: list[Message] = []
        self.heard: list[Message] = []
        self.targets: list[str] = []

    def hears(self) -> Message:
        while not self._waiting:
            data = self._socket.recv(65_536)
            assert data, "the recorder closed the connection"
            self.targets += [
                line.split(" ")[1]
                for line in data.decode("latin-1").split("\r\n")
                if line.endswith(" RTSP/1.0")
            ]
            self._waiting += self._wire.feed(data)[1]
        self.heard.append(self._waiting.pop(0))
        return self.heard[-1]

    def says(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answers(self, status: int = 200, *lines: str, body: bytes = b"", before: bytes = b"") -> Message:
        asked = self.hears()
        self.says(before + _answer(status, asked.header("cseq"), *lines, body=body))
        return asked


def _answer(status: int, sequence: str, *lines: str, body: bytes = b"") -> bytes:
    numbered = [f"CSeq: {sequence}"] if sequence else []
    length = [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([f"RTSP/1.0 {status} Said", *numbered, *lines, *length, "", ""]).encode() + body


def _framed(channel: int, packet: bytes) -> bytes:
    return b"$" + bytes([channel]) + len(packet).to_bytes(2, "big") + packet


@contextlib.contextmanager
def _talking(
    script: Callable[[Camera], None],
    login: Login | None = None,
    patience_s: float = PATIENCE_S,
) -> Iterator[tuple[Conversation, Camera]]:
    """A conversation with a camera that follows the script, then closes; the script must come to its end."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE_S)
    camera, problems = Camera(theirs), list[BaseException]()

    def run() -> None:
        try:
            script(camera)
        except BaseException as error:  # noqa: BLE001 - raised below
            problems.append(error)
        finally:
            theirs.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with ours:
            yield Conversation(ours, URL, login or Login("", ""), patience_s), camera
    finally:
        thread.join()
    if problems:
        raise problems[0]


def test_a_camera_is_asked_step_by_step_and_left_in_the_end() -> None:
    def script(camera: Camera) -> None:
        camera.answers(200, "Public: OPTIONS, DESCRIBE, GET_PARAMETER")
        camera.answers(200, f"Content-Base: {URL}/base/", body=b"v=0\r\n")
        camera.answers(200, "Session: 47;timeout=30", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        camera.answers(200, "Session: 47", "Transport: RTP/AVP/TCP;unicast;interleaved=2-3;ssrc=1")
        camera.answers(200, "RTP-Info: url=a;seq=1;rtptime=100,url=b;rtptime=4294967295")
        camera.hears()
        camera.hears()

    with _talking(script) as (talk, camera):
        assert talk.describe() == []
        talk.set_up(VIDEO)
        talk.set_up(SOUND)
        assert talk.play() == [Channel(0, 100), Channel(2, 4_294_967_295)]
        assert talk.session_s == 30.0
        talk.keep_alive()
        talk.close()
    methods = ["OPTIONS", "DESCRIBE", "SETUP", "SETUP", "PLAY", "GET_PARAMETER", "TEARDOWN"]
    assert [asked.method for asked in camera.heard] == methods
    base = f"{URL}/base/"
    assert camera.targets == [URL, URL, f"{base}trackID=0", f"{base}trackID=1", base, base, base]
    assert [asked.header("cseq") for asked in camera.heard] == [str(n) for n in range(1, 8)]
    assert [asked.header("session") for asked in camera.heard] == ["", "", "", "47", "47", "47", "47"]
    assert [asked.header("transport") for asked in camera.heard[2:4]] == [
        "RTP/AVP/TCP;unicast;interleaved=0-1",
        "RTP/AVP/TCP;unicast;interleaved=2-3",
    ]
    assert camera.heard[1].header("accept") == "application/sdp"


def test_without_a_session_nothing_is_torn_down_and_options_keep_alive() -> None:
    def script(camera: Camera) -> None:
        camera.answers(200, "Public: OPTIONS, DESCRIBE")
        camera.answers(200, body=b"v=0")
        assert camera.hears().method == "OPTIONS"
        with pytest.raises(AssertionError, match="closed"):
            camera.hears()

    with _talking(script) as (talk, _):
        talk.describe()
        talk.keep_alive()
        talk.close()


@pytest.mark.parametrize(
    ("lines", "base"),
    [
        ([], URL),
        ([f"Content-Location: {URL}/location"], f"{URL}/location"),
        ([f"Content-Location: {URL}/location", f"Content-Base: {URL}/base"], f"{URL}/base"),
    ],
)
def test_streams_are_set_up_below_the_base_that_the_camera_tells(lines: list[str], base: str) -> None:
    def script(camera: Camera) -> None:
        camera.answers()
        camera.answers(200, *lines, body=b"v=0")
        camera.answers()

    with _talking(script) as (talk, camera):
        talk.describe()
        talk.set_up(VIDEO)
    assert camera.targets[-1] == f"{base}/trackID=0"


def test_an_answer_to_an_earlier_request_does_not_count() -> None:
    def script(camera: Camera) -> None:
        asked = camera.hears()
        camera.says(_answer(100, asked.header("cseq")))
        camera.says(_answer(200, asked.header("cseq"), "Public: GET_PARAMETER"))
        camera.answers(200, body=b"v=0", before=_answer(404, "1"))

    with _talking(script) as (talk, _):
        assert talk.describe() == []


@pytest.mark.parametrize("number", ["", "0", "999", "x"])
def test_an_answer_with_no_number_of_ours_is_taken(number: str) -> None:
    def script(camera: Camera) -> None:
        camera.hears()
        camera.says(_answer(200, number))
        camera.hears()
        camera.says(_answer(200, number, body=b"v=0"))

    with _talking(script) as (talk, _):
        assert talk.describe() == []


def _set_up_and_play(camera: Camera, *told: str, transport: str = "", session: str = "Session: 1") -> None:
    camera.answers()
    camera.answers(200, body=b"v=0")
    camera.answers(200, session, transport or "Transport: RTP/AVP/TCP;interleaved=0-1")
    camera.answers(200, *told, before=_framed(0, b"first") + _framed(1, b"second"))


def _played(talk: Conversation) -> list[Channel]:
    talk.describe()
    talk.set_up(VIDEO)
    return talk.play()


def test_packets_before_the_answer_are_kept() -> None:
    played = threading.Event()

    def script(camera: Camera) -> None:
        _set_up_and_play(camera)
        assert played.wait(PATIENCE_S)
        camera.says(_framed(0, b"third"))

    with _talking(script) as (talk, _):
        assert _played(talk) == [Channel(0)]
        played.set()
        assert talk.receive() == [(0, b"first"), (1, b"second")]
        assert talk.receive() == [(0, b"third")]
        assert talk.early == []
        with pytest.raises(ConnectionEnded):
            talk.receive()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (["RTP-Info: url=rtsp://h/a;seq=5;rtptime=77"], 77),
        (["RTP-Info: url=rtsp://h/a;rtptime=77;seq=5"], 77),
        (["rtp-info: RTPTIME=0"], 0),
        (["RTP-Info: url=rtsp://h/a;seq=5"], None),
        (["RTP-Info: url=a;rtptime="], None),
        (["RTP-Info: url=a;rtptime=-4"], None),
        (["RTP-Info: url=a;rtptime=1,url=b;rtptime=2"], None),
        (["RTP-Info: "], None),
        ([], None),
    ],
)
def test_where_the_streams_begin_is_taken_where_it_is_told(told: list[str], expected: int | None) -> None:
    with _talking(lambda camera: _set_up_and_play(camera, *told)) as (talk, _):
        assert _played(talk) == [Channel(0, expected)]


@pytest.mark.parametrize(
    "told",
    [
        "url=rtsp://h/s/trackID=1;rtptime=11,url=rtsp://h/s/trackID=0;rtptime=10",
        "url=trackID=0;rtptime=10,url=trackID=1;rtptime=11",
        "url=one;rtptime=10,url=other;rtptime=11",
    ],
)
def test_each_stream_has_its_own_beginning_in_whatever_order_they_are_told(told: str) -> None:
    def script(camera: Camera) -> None:
        for _ in range(2):
            camera.answers(200, "Session: 1")
        camera.answers(200, f"RTP-Info: {told}")

    with _talking(script) as (talk, _):
        talk.set_up(VIDEO)
        talk.set_up(SOUND)
        assert talk.play() == [Channel(0, 10), Channel(2, 11)]


@pytest.mark.parametrize("control", ["rtsp://camera/all", "RTSP://camera/all"])
def test_the_session_s_own_address_is_played(control: str) -> None:
    def script(camera: Camera) -> None:
        camera.answers()
        camera.answers(200, body=f"v=0\r\na=control:{control}\r\nm=video 0 RTP/AVP 96\r\n".encode())
        camera.answers(200, "Session: 1")
        camera.answers(200)

    with _talking(script) as (talk, camera):
        [media] = talk.describe()
        talk.set_up(media)
        talk.play()
    assert camera.targets[-1] == control


@pytest.mark.parametrize("second", ["url=b;seq=9", ""])
def test_where_only_one_of_two_streams_tells_its_beginning_none_counts(second: str) -> None:
    def script(camera: Camera) -> None:
        for _ in range(2):
            camera.answers(200, "Session: 1")
        camera.answers(200, f"RTP-Info: url=a;rtptime=5,{second}".rstrip(","))

    with _talking(script) as (talk, _):
        talk.set_up(VIDEO)
        talk.set_up(SOUND)
        assert talk.play() == [Channel(0), Channel(2)]


@pytest.mark.parametrize(
    ("transport", "channel"),
    [
        ("Transport: RTP/AVP/TCP;unicast;INTERLEAVED=6-7", 6),
        ("Transport: RTP/AVP/TCP;interleaved=254-255", 254),
        ("Transport: RTP/AVP/TCP;unicast", 0),
        ("X: y", 0),
    ],
)
def test_the_channel_is_the_one_that_the_camera_tells(transport: str, channel: int) -> None:
    with _talking(lambda camera: _set_up_and_play(camera, transport=transport)) as (talk, _):
        assert _played(talk) == [Channel(channel)]


@pytest.mark.parametrize("channel", [255, 256, 999])
def test_a_channel_that_cannot_be_is_refused(channel: int) -> None:
    def script(camera: Camera) -> None:
        camera.answers(200, f"Transport: RTP/AVP/TCP;interleaved={channel}-{channel + 1}")

    with _talking(script) as (talk, _):
        with pytest.raises(NotRtsp):
            talk.set_up(VIDEO)


@pytest.mark.parametrize(
    ("session", "seconds"),
    [
        ("Session: 1;timeout=30", 30.0),
        ("Session: 1; Timeout = 5", 5.0),
        ("Session: 1", DEFAULT_SESSION_S),
        ("Session: 1;timeout=0", DEFAULT_SESSION_S),
        ("Session: 1;timeout=-5", DEFAULT_SESSION_S),
        ("Session: 1;timeout=soon", DEFAULT_SESSION_S),
        ("X: y", DEFAULT_SESSION_S),
    ],
)
def test_how_long_a_session_lasts(session: str, seconds: float) -> None:
    with _talking(lambda camera: _set_up_and_play(camera, session=session)) as (talk, _):
        _played(talk)
        assert talk.session_s == seconds


def _wants_digest(camera: Camera, nonce: str) -> None:
    camera.answers(401, f"WWW-Authenticate: {digest.challenge(nonce)}")


def _proven(asked: Message, nonce: str, method: str) -> bool:
    login = digest.Login("admin", "secret")
    return digest.accepts(login, nonce, method, URL, asked.header("authorization"))


def test_a_password_is_proven_when_the_camera_asks_and_from_then_on() -> None:
    def script(camera: Camera) -> None:
        camera.answers()
        _wants_digest(camera, "first")
        assert not camera.heard[-1].header("authorization")
        assert _proven(camera.answers(200, body=b"v=0"), "first", "DESCRIBE")
        assert _proven(camera.answers(200, "Session: 1"), "first", "SETUP")

    with _talking(script, Login("admin", "secret")) as (talk, _):
        assert talk.describe() == []
        talk.set_up(Media("video", 96))


def test_a_nonce_that_has_become_old_is_replaced() -> None:
    def script(camera: Camera) -> None:
        _wants_digest(camera, "first")
        assert _proven(camera.answers(), "first", "OPTIONS")
        _wants_digest(camera, "second")
        assert _proven(camera.answers(200, body=b"v=0"), "second", "DESCRIBE")

    with _talking(script, Login("admin", "secret")) as (talk, _):
        assert talk.describe() == []


def test_a_new_challenge_behind_a_keep_alive_counts_for_the_next() -> None:
    def script(camera: Camera) -> None:
        camera.answers()
        camera.answers(200, body=b"v=0")
        _wants_digest(camera, "later")
        camera.says(_framed(0, b"packet"))
        assert _proven(camera.hears(), "later", "OPTIONS")

    with _talking(script, Login("admin", "secret")) as (talk, _):
        talk.describe()
        talk.keep_alive()
        while not talk.receive():
            pass
        talk.keep_alive()


def test_a_refused_password_is_tried_once() -> None:
    def script(camera: Camera) -> None:
        _wants_digest(camera, "first")
        _wants_digest(camera, "second")
        with pytest.raises(AssertionError, match="closed"):
            camera.hears()

    with _talking(script, Login("admin", "wrong")) as (talk, camera):
        with pytest.raises(Refused) as refused:
            talk.describe()
    assert refused.value.status == 401
    assert len(camera.heard) == 2


def test_without_a_password_nothing_is_tried_again() -> None:
    with _talking(lambda camera: _wants_digest(camera, "first")) as (talk, camera):
        with pytest.raises(Refused, match="401"):
            talk.describe()
    assert len(camera.heard) == 1


@pytest.mark.parametrize(
    ("status", "elsewhere"), [(301, True), (302, True), (404, False), (461, False), (500, False)]
)
def test_a_refusal_tells_what_to_make_of_it(status: int, elsewhere: bool) -> None:
    def script(camera: Camera) -> None:
        camera.answers(status, "Location: rtsp://other/", "Content-Length: 0")

    with _talking(script) as (talk, _):
        with pytest.raises(Refused) as refused:
            talk.set_up(VIDEO)
    assert (refused.value.status, refused.value.elsewhere) == (status, elsewhere)


@pytest.mark.parametrize("said", [b"", b"RTSP/1.0 200 OK\r\nCSeq:", _framed(0, b"abc")])
def test_a_camera_that_closes_midway_has_ended(said: bytes) -> None:
    def script(camera: Camera) -> None:
        camera.hears()
        camera.says(said)

    with _talking(script) as (talk, _):
        with pytest.raises(ConnectionEnded):
            talk.describe()


def test_a_camera_that_speaks_something_else_is_no_rtsp() -> None:
    def script(camera: Camera) -> None:
        camera.hears()
        camera.says(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with _talking(script) as (talk, _):
        with pytest.raises(NotRtsp):
            talk.describe()


@pytest.mark.parametrize(
    "trickle",
    [b"", b"\r\n", _framed(0, b"abc"), _answer(100, "77"), b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"],
)
def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_our_patience(trickle: bytes) -> None:
    done = threading.Event()

    def script(camera: Camera) -> None:
        camera.hears()
        with contextlib.suppress(BrokenPipeError):
            while not done.wait(0.005):
                camera.says(trickle)

    with _talking(script, patience_s=SHORT_S) as (talk, _):
        watch = threading.Timer(PATIENCE_S, done.set)
        watch.start()
        try:
            with pytest.raises(TimeoutError):
                talk.describe()
            assert not done.is_set()
        finally:
            watch.cancel()
            done.set()


def test_a_head_that_comes_byte_by_byte_is_waited_for_no_longer_than_our_patience() -> None:
    done = threading.Event()

    def script(camera: Camera) -> None:
        camera.hears()
        camera.says(b"RTSP/1.0 200 OK\r\nX: ")
        with contextlib.suppress(BrokenPipeError):
            while not done.wait(0.005):
                camera.says(b"x")

    with _talking(script, patience_s=SHORT_S) as (talk, _):
        try:
            with pytest.raises(TimeoutError):
                talk.describe()
        finally:
            done.set()


def test_a_camera_that_falls_silent_is_waited_for_no_longer_than_our_patience() -> None:
    done = threading.Event()
    with _talking(lambda _: done.wait(PATIENCE_S) and None, patience_s=SHORT_S) as (talk, _):
        try:
            with pytest.raises(TimeoutError):
                talk.receive()
        finally:
            done.set()


@pytest.mark.parametrize("size", [0, 60_000])
def test_media_instead_of_an_answer_is_kept_within_bounds(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    most, packet = 1 << 20, _framed(0, bytes(size))
    monkeypatch.setattr(conversation, "_MOST_EARLY_BYTES", most)

    def script(camera: Camera) -> None:
        camera.hears()
        with contextlib.suppress(OSError):
            for _ in range(20 * most // (size + 100)):
                camera.says(packet)

    with _talking(script) as (talk, _):
        with pytest.raises(NotRtsp):
            talk.describe()
        assert most / 256 < sum(len(packet) + 100 for _, packet in talk.early) < 3 * most
        talk.close()


def test_a_camera_that_asks_midway_is_answered() -> None:
    def script(camera: Camera) -> None:
        asked = camera.hears()
        camera.says(b"OPTIONS * RTSP/1.0\r\nCSeq: 31\r\n\r\n")
        answered = camera.hears()
        assert (answered.status, answered.header("cseq")) == (200, "31")
        behind = b"GET_PARAMETER * RTSP/1.0\r\nCSeq: 32\r\n\r\n"
        camera.says(_answer(200, asked.header("cseq")) + behind)
        answered = camera.hears()
        assert (answered.status, answered.header("cseq")) == (200, "32")
        camera.answers(200, body=b"v=0")

    with _talking(script) as (talk, _):
        assert talk.describe() == []


def test_a_camera_that_asks_while_it_plays_is_answered() -> None:
    def script(camera: Camera) -> None:
        _set_up_and_play(camera)
        camera.says(b"OPTIONS * RTSP/1.0\r\nCSeq: 8\r\n\r\n" + _framed(0, b"last"))
        assert camera.hears().header("cseq") == "8"

    with _talking(script) as (talk, _):
        _played(talk)
        while (0, b"last") not in talk.receive():
            pass


def test_what_we_say_on_a_channel_is_framed() -> None:
    def script(camera: Camera) -> None:
        got = b""
        while len(got) < 7:
            got += camera._socket.recv(100)
        assert got == _framed(3, b"abc")

    with _talking(script) as (talk, _):
        talk.say(3, b"abc")


def test_a_camera_that_reads_nothing_or_has_gone_does_not_hold_us_up() -> None:
    ours, theirs = socket.socketpair()
    talk = Conversation(ours, URL, Login("", ""), SHORT_S)
    for _ in range(10_000):
        talk.say(1, bytes(1000))
    theirs.close()
    talk.say(1, b"abc")
    talk.keep_alive()
    talk.close()
    assert ours.fileno() == -1
