import hashlib
import re
import secrets
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_lab.cameras import digest
from understudy_recording_server.rtsp.login import Login

URL = "rtsp://camera/stream"
_QUOTED = r'"((?:[^"\\]|\\.)*)"'


def _fields(authorization: str) -> dict[str, str]:
    """What a server reads: quoted values without their quotes, escapes as they are."""
    scheme, _, rest = authorization.partition(" ")
    assert scheme == "Digest"
    fields: dict[str, str] = {}
    while rest:
        found = re.match(rf"([a-z]+)=(?:{_QUOTED}|([^\s,\"]+))(?:, |\Z)", rest)
        assert found, f"no list of fields: {rest}"
        assert found[1] not in fields
        fields[found[1]] = found[2] if found[2] is not None else found[3]
        rest = rest[found.end() :]
    return fields


def _md5(*parts: str) -> str:
    return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()


def _sha256(*parts: str) -> str:
    return hashlib.sha256(":".join(parts).encode()).hexdigest()


def _sent(login: Login, method: str = "DESCRIBE", url: str = URL) -> dict[str, str]:
    return _fields(login.headers(method, url)["Authorization"])


def _own_value(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _=None: value)


def test_the_example_of_rfc_2617(monkeypatch: pytest.MonkeyPatch) -> None:
    _own_value(monkeypatch, "0a4f113b")
    login = Login("Mufasa", "Circle Of Life")
    challenge = (
        'Digest realm="testrealm@host.com", qop="auth,auth-int", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    assert login.challenged([challenge])
    assert _sent(login, "GET", "/dir/index.html") == {
        "username": "Mufasa",
        "realm": "testrealm@host.com",
        "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        "uri": "/dir/index.html",
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "0a4f113b",
        "response": "6629fae49393a05397450978507c4ef1",
        "opaque": "5ccc069c403ebaf9f0171e9517f40e41",
    }


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616(monkeypatch: pytest.MonkeyPatch, algorithm: str, response: str) -> None:
    _own_value(monkeypatch, "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")
    login = Login("Mufasa", "Circle of Life")
    challenge = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", '
        f'algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    assert login.challenged([challenge])
    sent = _sent(login, "GET", "/dir/index.html")
    assert sent["response"] == response
    assert (sent["algorithm"], sent["qop"], sent["nc"]) == (algorithm, "auth", "00000001")


def test_the_example_of_rfc_7617() -> None:
    login = Login("Aladdin", "open sesame")
    assert login.challenged(['Basic realm="WallyWorld"'])
    assert login.headers("GET", URL) == {"Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}


def test_basic_speaks_utf_8() -> None:
    login = Login("test", "123\u00a3")
    assert login.challenged(['Basic realm="foo", charset="UTF-8"'])
    assert login.headers("GET", URL) == {"Authorization": "Basic dGVzdDoxMjPCow=="}


def test_without_quality_of_protection_it_is_as_in_rfc_2069() -> None:
    login = Login("admin", "secret")
    assert login.challenged(['Digest realm="IP Camera(12345)", nonce="abc", stale="FALSE"'])
    sent = _sent(login)
    assert set(sent) == {"username", "realm", "nonce", "uri", "response"}
    proof = _md5("admin", "IP Camera(12345)", "secret"), "abc", _md5("DESCRIBE", URL)
    assert sent["response"] == _md5(*proof)


def test_each_request_with_one_challenge_has_the_next_count() -> None:
    login = Login("a", "b")
    challenge = 'Digest realm="r", nonce="n", qop="auth"'
    login.challenged([challenge])
    assert [_sent(login)["nc"] for _ in range(3)] == ["00000001", "00000002", "00000003"]
    login.challenged([challenge])
    assert _sent(login)["nc"] == "00000001"


@pytest.mark.parametrize(("algorithm", "hashed"), [("MD5-sess", _md5), ("SHA-256-sess", _sha256)])
@pytest.mark.parametrize("qop", ["", ', qop="auth"'])
def test_sessions_are_hashed_with_both_sides_values(algorithm: str, hashed: type, qop: str) -> None:
    login = Login("a", "b")
    assert login.challenged([f'Digest realm="r", nonce="n", algorithm={algorithm}{qop}'])
    sent = _sent(login)
    secret = hashed(hashed("a", "r", "b"), "n", sent["cnonce"])
    more = [sent["nc"], sent["cnonce"], "auth"] if qop else []
    assert sent["response"] == hashed(secret, "n", *more, hashed("DESCRIBE", URL))
    assert sent["algorithm"] == algorithm
    # A camera may keep the hash of the first request for the session (RFC 7616, 3.4.2).
    later = _sent(login, "SETUP")
    more = [later["nc"], later["cnonce"], "auth"] if qop else []
    assert later["response"] == hashed(secret, "n", *more, hashed("SETUP", URL))


def test_our_own_value_is_another_one_for_each_challenge() -> None:
    login = Login("a", "b")
    own = set()
    for _ in range(5):
        login.challenged(['Digest realm="r", nonce="n", qop="auth"'])
        own.add(_sent(login)["cnonce"])
    assert len(own) == 5


BASIC = 'Basic realm="r"'
MD5 = 'Digest realm="r", nonce="md5", algorithm="MD5"'
BARE = 'Digest realm="r", nonce="bare"'
SHA256 = 'Digest realm="r", nonce="sha", algorithm=SHA-256'
UNKNOWN = 'Digest realm="r", nonce="unknown", algorithm=SHA-512-256'


@pytest.mark.parametrize(
    ("challenges", "chosen"),
    [
        ([BASIC, MD5], "md5"),
        ([MD5, BASIC], "md5"),
        ([MD5, SHA256, BASIC], "sha"),
        ([SHA256, MD5], "sha"),
        ([UNKNOWN, BARE], "bare"),
        ([UNKNOWN, BASIC], "basic"),
        ([BASIC.upper()], "basic"),
        ([MD5.replace("Digest", "dIGEST")], "md5"),
        ([MD5.replace('"MD5"', "md5")], "md5"),
    ],
)
def test_the_strongest_way_that_is_known_is_taken(challenges: list[str], chosen: str) -> None:
    login = Login("a", "b")
    assert login.challenged(challenges)
    sent = login.headers("DESCRIBE", URL)["Authorization"]
    assert (_fields(sent)["nonce"] if chosen != "basic" else sent.split()[0].lower()) == chosen


@pytest.mark.parametrize("challenges", [[], [UNKNOWN], ["Digest"], ['Digest realm="r"'], ["Bearer"], [""]])
def test_where_no_known_way_is_offered_no_attempt_is_made(challenges: list[str]) -> None:
    login = Login("a", "b")
    login.challenged([MD5])
    assert not login.challenged(challenges)
    assert login.headers("DESCRIBE", URL) == {}


def test_without_a_name_and_a_password_no_attempt_is_made() -> None:
    login = Login("", "")
    assert not login.challenged([MD5, BASIC])
    assert login.headers("DESCRIBE", URL) == {}


@pytest.mark.parametrize(("username", "password"), [("admin", ""), ("", "only a password")])
def test_one_of_both_is_enough_for_an_attempt(username: str, password: str) -> None:
    login = Login(username, password)
    assert login.challenged([MD5])
    assert _sent(login)["username"] == username


def test_nothing_is_sent_before_the_camera_asks() -> None:
    assert Login("a", "b").headers("OPTIONS", URL) == {}


def test_names_with_quotes_and_backslashes_are_sent_escaped_and_hashed_as_they_are() -> None:
    login = Login('ro"o\\t', "b")
    assert login.challenged([MD5])
    sent = _sent(login)
    assert sent["username"] == 'ro\\"o\\\\t'
    assert sent["response"] == _md5(_md5('ro"o\\t', "r", "b"), "md5", _md5("DESCRIBE", URL))


def test_the_challenge_s_own_escapes_go_back_as_they_came() -> None:
    login = Login("a", "b")
    assert login.challenged(['Digest realm="the \\"best\\" one", nonce="n\\\\", opaque="", qop="auth"'])
    sent = _sent(login)
    assert (sent["realm"], sent["nonce"], sent["opaque"]) == ('the \\"best\\" one', "n\\\\", "")


def test_commas_and_loose_spaces_in_a_challenge_are_no_matter() -> None:
    login = Login("a", "b")
    assert login.challenged([' Digest  realm = "a, b=c" ,nonce=bare,  QOP = "auth-int,auth" '])
    sent = _sent(login)
    assert (sent["realm"], sent["nonce"], sent["qop"]) == ("a, b=c", "bare", "auth")


def test_no_password_shows() -> None:
    login = Login("admin", "hunter2")
    login.challenged([MD5])
    assert "hunter2" not in f"{login!r} {login}"
    assert "admin" not in f"{login!r} {login}"
    assert "hunter2" not in login.headers("DESCRIBE", URL)["Authorization"]


names = st.text(st.characters(codec="utf-8", exclude_characters='"\\'), max_size=12)


@given(names, st.text(st.characters(codec="utf-8"), max_size=12), st.sampled_from(["OPTIONS", "PLAY"]))
def test_the_lab_s_cameras_accept_it_and_nothing_else(username: str, password: str, method: str) -> None:
    if not username and not password:
        return
    login = Login(username, password)
    assert login.challenged([digest.challenge("a-nonce")])
    told = login.headers(method, URL)["Authorization"]
    assert digest.accepts(digest.Login(username, password), "a-nonce", method, URL, told)
    assert not digest.accepts(digest.Login(username, password + "x"), "a-nonce", method, URL, told)
    assert not digest.accepts(digest.Login(username, password), "a-nonce", "PAUSE", URL, told)


@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from([MD5, BASIC]), max_size=4)
)
def test_any_challenge_is_answered_or_passed_by(challenges: list[str]) -> None:
    login = Login("a", "b")
    sent = login.challenged([*challenges]), login.headers("PLAY", URL)
    assert sent[0] == bool(sent[1])


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40))
def test_any_text_in_a_quoted_challenge_leaves_a_list_of_fields(realm: str) -> None:
    login = Login("a", "b")
    escaped = realm.replace("\\", "\\\\").replace('"', '\\"')
    assert login.challenged([f'Digest realm="{escaped}", nonce="n", qop="auth", algorithm=MD5'])
    assert _sent(login)["realm"] == escaped


@pytest.mark.parametrize(
    "challenge",
    ["a" * 16_000, "a" + " " * 16_000, "a " * 8000, 'a="' * 5000, 'a=\\"' * 4000, 'a="' + "\\" * 16_000],
)
def test_the_longest_challenge_costs_no_time(challenge: str) -> None:
    login = Login("a", "b")
    began_s = time.process_time()
    assert not login.challenged([f"Digest {challenge}"])
    assert time.process_time() - began_s < 0.3
