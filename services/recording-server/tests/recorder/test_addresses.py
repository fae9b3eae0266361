import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_recording_server.recorder.sources.addresses import AddressRefused, allowed, camera_address


def test_an_address_is_taken_apart_and_put_together_with_its_login() -> None:
    address = camera_address("RTSP://Cam.Example:8554/stream/1?ch=2", "us er", "p@ss/:%")
    assert (address.scheme, address.host, address.port) == ("rtsp", "cam.example", 8554)
    assert address.url_at("10.0.0.1") == "rtsp://us%20er:p%40ss%2F%3A%25@10.0.0.1:8554/stream/1?ch=2"
    assert address.shown == "cam.example:8554"
    assert "p@ss" not in repr(address)


def test_a_login_within_the_address_is_used_when_there_is_no_other() -> None:
    url = "rtsps://a:b%40c@[2001:db8::1]/x"
    assert camera_address(url).url_at("2001:db8::1") == "rtsps://a:b%40c@[2001:db8::1]:322/x"
    assert camera_address(url, "u", "p").url_at("2001:db8::1") == "rtsps://u:p@[2001:db8::1]:322/x"


@pytest.mark.parametrize(
    "url",
    ["", "x", "file:///etc/passwd", "concat:a|b", "http://camera/", "rtsp:", "rtsp:///x", "rtsp://-rf/x",
     "rtsp://h:0/", "rtsp://h:99999/", "rtsp://h:x/", "rtsp://[::1/", "rtsp://h/a b", "rtsp://h/a\r\nDELETE",
     "rtsp://h\\@x/", "rtsp://a|b/", "rtsp://" + "h" * 300 + "/", "-rtsp://h/", "rtmp://h/"],
)  # fmt: skip
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        camera_address(url)


@given(st.text() | st.text().map(lambda rest: f"rtsp://{rest}"))
def test_any_text_is_an_address_or_refused(url: str) -> None:
    try:
        address = camera_address(url)
    except AddressRefused:
        return
    opened = address.url_at("10.0.0.1")
    assert opened.startswith(("rtsp://", "rtsps://"))
    assert "\n" not in opened
    assert " " not in opened


@pytest.mark.parametrize(
    "good", ["127.0.0.1", "10.1.2.3", "192.168.1.1", "8.8.8.8", "::1", "2001:db8::1", "fd00::1"]
)
def test_cameras_may_be_on_the_machine_in_the_network_or_elsewhere(good: str) -> None:
    assert allowed([good]) == good


@pytest.mark.parametrize(
    "bad",
    ["169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "fd00:ec2::254",
     "100.100.100.200", "168.63.129.16", "0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1",  # noqa: S104
     "2002:a9fe:a9fe::1", "nonsense", ""],
)  # fmt: skip
def test_dangerous_addresses_are_refused_even_among_good_ones(bad: str) -> None:
    for resolved in ([bad], ["10.0.0.1", bad], [bad, "10.0.0.1"]):
        with pytest.raises(AddressRefused):
            allowed(resolved)


def test_a_host_without_an_address_is_refused() -> None:
    with pytest.raises(AddressRefused):
        allowed([])
