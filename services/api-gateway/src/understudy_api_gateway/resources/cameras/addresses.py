"""Which camera addresses may be fetched at all. Names are resolved, and judged again, by the recorder."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from understudy_contracts.errors import InvalidInput

_SCHEMES = {"rtsp", "rtsps"}
# Cloud metadata services; the usual 169.254.169.254 is link-local already.
_METADATA = {ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200")}
_METADATA_NAMES = {"metadata", "metadata.google.internal", "instance-data"}


def check_camera_url(url: str) -> None:
    """Raises:
    InvalidInput: not an RTSP address, one with a login in it, or one where no camera can be.
    """
    if url.startswith("-") or any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise InvalidInput("the camera's URL begins with '-' or holds spaces or control characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidInput("the camera's URL is not a URL") from None
    if parts.scheme not in _SCHEMES:
        raise InvalidInput("the camera's URL must begin with rtsp:// or rtsps://")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("put the camera's login into username and password, not into its URL")
    if not host or host.startswith("-") or port == 0:
        raise InvalidInput("the camera's URL names no host")
    if host.rstrip(".") in _METADATA_NAMES or _is_forbidden(_address(host)):
        raise InvalidInput(
            "the camera's URL points to a link-local, metadata, multicast or unspecified address"
        )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that `host` is, also in the old forms (2130706433, 0x7f.1) that resolvers take."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except (OSError, UnicodeEncodeError):
            return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_forbidden(address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    if address is None:
        return False
    return address.is_link_local or address.is_multicast or address.is_unspecified or address in _METADATA
