"""The pure decisions: which bodies, cursors, addresses, ids, pauses, confirmations."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_api_gateway.bodies import MAXIMUM_NESTING, check_body
from understudy_api_gateway.confirmations import confirmation_for, require_confirmation
from understudy_api_gateway.cursors import cursor_after, number_key, text_key
from understudy_api_gateway.identity import Identity, needed_role
from understudy_api_gateway.resources.cameras.addresses import check_camera_url
from understudy_api_gateway.resources.events.handlers import frame_of
from understudy_api_gateway.resources.events.resuming import Begin, begin_at, wanted_kinds
from understudy_api_gateway.resources.servers.naming import checked_name, free_id
from understudy_api_gateway.resources.sessions.throttle import LONGEST_PAUSE_S, Throttle
from understudy_api_gateway.resources.settings.masking import MASK, holds_mask, masked, unmasked
from understudy_contracts.errors import ConfirmationRequired, InvalidInput
from understudy_contracts.ids import is_id
from understudy_contracts.model import Role, UserRole

NUMBERS = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)


def depth(value):
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(JSON, st.booleans())
def test_a_body_passes_exactly_if_it_is_not_nested_too_deep(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    check_body(text.encode())
    room = MAXIMUM_NESTING - depth(value)
    check_body(("[" * room + text + "]" * room).encode())
    with pytest.raises(InvalidInput, match="nested"):
        check_body(("[" * (room + 1) + text + "]" * (room + 1)).encode())


@given(st.binary(max_size=300))
def test_any_bytes_are_judged_without_surprise(body):
    try:
        check_body(body)
    except InvalidInput:
        return
    assert b"\x00" not in body


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'["' + b'\\"' * 500_000,
        b'{"name":"a\\u0000b"}',
        b'{"name":"a\\\\\\u0000b"}',
        b"\x00",
        b'{"n":9223372036854775808}',
        b'{"n":' + b"9" * 500_000 + b"}",
    ],
)
@pytest.mark.timeout(5)
def test_hostile_bodies_are_judged_quickly(body):
    if body.startswith(b'["'):
        check_body(body)  # one text that never ends: the decoder's to refuse, but quickly passed here
        return
    with pytest.raises(InvalidInput):
        check_body(body)


def test_an_escaped_backslash_before_u0000_is_no_nul():
    check_body(b'{"path":"C:\\\\u0000"}')


@given(st.text(max_size=60) | st.integers(0, 2**63 - 1))
def test_a_cursor_gives_its_key_back(key):
    read = number_key if isinstance(key, int) else text_key
    if isinstance(key, str) and (
        "\x00" in key or len(key.encode("utf-8", "ignore")) > 140 or not is_encodable(key)
    ):
        return
    assert read(cursor_after(key)) == key


def is_encodable(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@given(st.text(max_size=300))
def test_a_foreign_cursor_is_refused_or_holds_a_key(cursor):
    for read in (text_key, number_key):
        try:
            key = read(cursor)
        except InvalidInput:
            continue
        assert isinstance(key, str | int)


def test_cursors_of_another_list_are_refused():
    for read, key in ((number_key, "north"), (text_key, 7)):
        with pytest.raises(InvalidInput):
            read(cursor_after(key))
    assert text_key(None) is None
    assert number_key(None) is None


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://10.0.0.5/stream",
        "rtsps://camera.example:322/s?x=1",
        "rtsp://127.0.0.1:8554/cam-1",
        "rtsp://[2001:db8::1]/s",
    ],
)
def test_camera_addresses_that_are_taken(url):
    check_camera_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "concat:a|b",
        "-i",
        "http://10.0.0.5/",
        "rtsp://",
        "rtsp:///stream",
        "rtsp://user:secret@10.0.0.5/s",
        "rtsp://169.254.169.254/latest",
        "rtsp://2852039166/latest",
        "rtsp://0xa9.0xfe.0xa9.0xfe/latest",
        "rtsp://[::ffff:169.254.169.254]/",
        "rtsp://[fe80::1]/s",
        "rtsp://[fe80::1%25eth0]/s",
        "rtsp://[fd00:ec2::254]/",
        "rtsp://metadata.google.internal/",
        "rtsp://metadata.google.internal./",
        "rtsp://0.0.0.0/s",
        "rtsp://224.0.0.1/s",
        "rtsp://10.0.0.5:99999/s",
        "rtsp://10.0.0.5:0/s",
        "rtsp://[::1/s",
        "rtsp://ho st/s",
        "rtsp://10.0.0.5/s\r\nX: y",
        "rtsp://-oProxyCommand=x/s",
    ],
)
def test_camera_addresses_that_are_refused(url):
    with pytest.raises(InvalidInput):
        check_camera_url(url)


@given(st.text(max_size=120), st.sampled_from(Role), st.sets(st.sampled_from(["a", "a-2"])))
def test_a_new_id_is_an_id_that_nobody_has(name, role, taken):
    made = free_id(name, role, taken)
    assert is_id(made)
    assert made not in taken
    assert made not in {"defaults", "all", "discovered"}


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1bb", "\u2028"])
def test_names_without_substance_are_refused(name):
    with pytest.raises(InvalidInput):
        checked_name(name)


def test_pauses_grow_with_failures_and_end_with_a_success():
    throttle, now = Throttle(), 100.0
    for _ in range(5):
        assert throttle.wait_s("ann", now) == 0
        throttle.failed("ann", now)
    assert throttle.wait_s("ann", now) == 1
    assert throttle.wait_s("bob", now) == 0
    for _ in range(2000):
        throttle.failed("ann", now)
    assert throttle.wait_s("ann", now) == LONGEST_PAUSE_S
    assert throttle.wait_s("ann", now + LONGEST_PAUSE_S) == 0
    throttle.succeeded("ann")
    assert throttle.wait_s("ann", now) == 0


def test_only_the_confirmation_of_just_this_passes():
    asked = {"session": "s1", "action": "delete-server", "subject": "north", "destroys": "Everything."}
    with pytest.raises(ConfirmationRequired) as warning:
        require_confirmation(None, **asked)
    token = warning.value.details["confirmation"]
    assert token == confirmation_for("s1", "delete-server", "north", "Everything.")
    require_confirmation(token, **asked)
    for key in asked:
        with pytest.raises(ConfirmationRequired):
            require_confirmation(token, **{**asked, key: "other"})
    with pytest.raises(ConfirmationRequired):
        require_confirmation("ü", **asked)


PLAIN = st.dictionaries(
    st.sampled_from(["password", "apiToken", "name", "id"]),
    st.text(max_size=5) | st.lists(st.dictionaries(st.sampled_from(["secret", "x"]), st.text(max_size=3))),
    max_size=4,
)


@given(PLAIN)
def test_what_is_masked_and_sent_back_is_as_before(settings):
    if holds_mask(settings):
        return
    hidden = masked(settings)
    for key in ("password", "apiToken"):
        assert hidden.get(key, "") in ("", MASK) or isinstance(settings[key], list)
    assert unmasked(hidden, settings) == settings


def test_masked_entries_are_found_by_id_and_strangers_refused():
    before = {"cameras": [{"id": "a", "password": "1"}, {"id": "b", "password": "2"}]}
    swapped = {"cameras": [{"id": "b", "password": MASK}, {"id": "a", "password": "new"}]}
    assert unmasked(swapped, before)["cameras"] == [
        {"id": "b", "password": "2"},
        {"id": "a", "password": "new"},
    ]
    with pytest.raises(InvalidInput, match=r"cameras\.password"):
        unmasked({"cameras": [{"id": "c", "password": MASK}]}, before)


def test_handlers_that_say_nothing_are_closed():
    assert needed_role("GET", {}) is UserRole.VIEWER
    assert needed_role("POST", {}) is UserRole.ADMINISTRATOR
    assert needed_role("BREW", {}) is UserRole.ADMINISTRATOR
    assert needed_role("POST", {"role": UserRole.OPERATOR}) is UserRole.OPERATOR
    assert needed_role("POST", {"public": True}) is None


def test_where_a_reader_begins():
    assert begin_at(None, 1, 10) == Begin(11)
    assert begin_at("7", 1, 10) == Begin(8)
    assert begin_at("10", 1, 10) == Begin(11)
    assert begin_at("3", 6, 10) == Begin(6, missed=True)
    assert begin_at("5", 6, 10) == Begin(6)
    assert begin_at("99", 6, 10) == Begin(11, missed=True)
    assert begin_at(None, 1, 0) == Begin(1)
    for nonsense in ("-1", "x", "1" * 30, "٣", "1.5"):
        with pytest.raises(InvalidInput):
            begin_at(nonsense, 1, 10)


def test_user_events_are_for_administrators():
    viewer, admin = Identity("v", UserRole.VIEWER, "s"), Identity("a", UserRole.ADMINISTRATOR, "s")
    assert "user" not in wanted_kinds(None, viewer)
    assert "user" in wanted_kinds(None, admin)
    assert wanted_kinds("server,user", viewer) == {"server"}
    with pytest.raises(InvalidInput):
        wanted_kinds("server,*", viewer)


def test_an_event_is_one_frame_however_its_data_is_laid_out():
    body = b'{"id":"x-1","kind":"server","subject":"a","event":"added","sequence":1,"at":1,"data":{\n}}'
    frame = frame_of(5, body, frozenset({"server"}))
    assert frame.startswith(b"id: 5\nevent: server.added\ndata: {")
    assert frame.endswith(b"}\n\n")
    assert frame.count(b"\n") == 4
    assert frame_of(5, body, frozenset({"failover"})) == b""
    assert frame_of(5, b"garbage", frozenset({"server"})) == b""
