"""Which camera addresses the recorder may open, decided before anything is opened.

Addresses come from people and from replicated settings. A recorder that opened any of them could be made to
read local files or a cloud's metadata service (promises.md, Bad input to answer well).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import quote, unquote, urlsplit

from understudy_contracts.errors import InvalidInput

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322}
"""RFC 7826, section 4.2; also the list of schemes that are allowed."""

_METADATA = frozenset(
    {ip_address("fd00:ec2::254"), ip_address("100.100.100.200"), ip_address("168.63.129.16")}
)
"""Metadata services of clouds outside the link-local ranges."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,253}(%[A-Za-z0-9]{1,15})?")


class AddressRefused(InvalidInput):
    """A camera address that must not be opened; the message says why and shows no credentials."""

    code = "address-refused"


@dataclass(frozen=True)
class CameraAddress:
    """A camera's address taken apart. Only `url_at` puts the credentials back in, in memory."""

    scheme: str
    host: str
    port: int
    target: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """Host and port, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url_at(self, address: str) -> str:
        """The URL to open: with the checked address in place of the name, which may change its mind."""
        login = ""
        if self.username or self.password:
            login = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}@"
        return f"{self.scheme}://{login}{self._place(address)}"

    def bare_url_at(self, address: str) -> str:
        """The same without credentials: as it is asked for."""
        return f"{self.scheme}://{self._place(address)}"

    def _place(self, address: str) -> str:
        host = f"[{address}]" if ":" in address else address
        return f"{host}:{self.port}{self.target}"


def camera_address(url: str, username: str = "", password: str = "") -> CameraAddress:
    """Take a camera's URL apart. Credentials given beside it win over those within it.

    Raises:
        AddressRefused: a scheme other than rtsp and rtsps, a host that is missing or could be taken for an
            option, control characters, or a port that is none.
    """
    if _UNSAFE.search(url):
        raise AddressRefused("the camera's address has a space, a backslash or a control character")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("the camera's address is no valid URL") from None
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS or not parts.netloc:
        raise AddressRefused("the camera's address must begin with rtsp:// or rtsps://")
    host = parts.hostname or ""
    if host.startswith("-") or _HOST.fullmatch(host) is None:
        raise AddressRefused("the camera's address has no valid host")
    if port == 0:
        raise AddressRefused("the camera's address has no valid port")
    if not username and not password:
        username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if _CONTROL.search(username + password):
        raise AddressRefused("the camera's user name or password has a control character")
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (f"?{parts.query}" if parts.query else "")
    return CameraAddress(scheme, host, port or DEFAULT_PORTS[scheme], target, username, password)


def allowed(resolved: Sequence[str]) -> str:
    """The one of a host's addresses to connect to. One bad address spoils them all: it could be tried next.

    Raises:
        AddressRefused: none at all, or link-local, metadata, multicast, broadcast or unspecified ones.
    """
    if not resolved:
        raise AddressRefused("the camera's host has no address")
    for text in resolved:
        reason = _refusal(text)
        if reason:
            raise AddressRefused(f"the camera's address is {reason}, which is not allowed")
    return resolved[0]


def _refusal(text: str) -> str:
    try:
        address = _unmapped(ip_address(text.partition("%")[0]))
    except ValueError:
        return "not an IP address"
    if address.is_link_local:
        return "link-local"
    if address in _METADATA:
        return "a metadata service"
    if address.is_multicast:
        return "multicast"
    if address.is_unspecified or address == ip_address("255.255.255.255"):
        return "unspecified"
    return ""


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address within an IPv6 one that only carries it."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address.sixtofour:
            return address.sixtofour
        if address.teredo:
            return address.teredo[1]
    return address
