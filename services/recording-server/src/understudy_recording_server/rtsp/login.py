"""Proving a camera's password: Digest (RFC 7616, and RFC 2617 before it) and Basic (RFC 7617). No I/O."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Sequence

_FIELD = re.compile(r'(?<![\w-])([A-Za-z0-9_-]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^",\s]*+))')
"""Begins only where a word does and never goes back: a hostile challenge must not cost seconds."""
_HASHES: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
}
"""By the names of RFC 7616, the stronger ones last. MD5 is what nearly all cameras speak."""


class Login:
    """A name and a password, and the camera's latest challenge."""

    def __init__(self, username: str, password: str) -> None:
        self._username = username
        self._password = password
        self._basic = False
        self._fields: dict[str, str] = {}
        self._algorithm = ""
        self._count = 0
        self._own = ""

    def __repr__(self) -> str:
        return "Login()"

    def challenged(self, challenges: Sequence[str]) -> bool:
        """Take the values of WWW-Authenticate; False where an attempt makes no sense: there is no password,
        or no method that is asked for is known."""
        if not self._username and not self._password:
            return False
        known = list(_HASHES)
        best = -1
        basic = False
        for challenge in challenges:
            scheme, _, rest = challenge.strip().partition(" ")
            fields = {found[1].lower(): found[2] or found[3] or "" for found in _FIELD.finditer(rest)}
            basic |= scheme.lower() == "basic"
            algorithm = fields.get("algorithm", "MD5").upper().removesuffix("-SESS")
            if scheme.lower() != "digest" or "nonce" not in fields or algorithm not in known:
                continue
            if known.index(algorithm) > best:
                best = known.index(algorithm)
                # The same value of ours until the next challenge: `-sess` hashes the first request's.
                self._fields, self._count, self._own = fields, 0, secrets.token_hex(8)
        self._algorithm = known[best] if best >= 0 else ""
        self._basic = basic and best < 0
        return self._basic or best >= 0

    def headers(self, method: str, url: str) -> dict[str, str]:
        """What to send with a request."""
        if self._basic:
            pair = f"{self._username}:{self._password}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        if not self._algorithm:
            return {}
        return {"Authorization": self._digest(method, url)}

    def _digest(self, method: str, url: str) -> str:
        def hashed(*parts: str) -> str:
            return _HASHES[self._algorithm](":".join(parts).encode())

        fields = self._fields
        realm, nonce = fields.get("realm", ""), fields["nonce"]
        # The challenge's own values go back as they came, with their escapes.
        username = self._username.replace("\\", "\\\\").replace('"', '\\"')
        said = {"username": username, "realm": realm, "nonce": nonce, "uri": url}
        secret = hashed(self._username, realm, self._password)
        bare: dict[str, str] = {}
        own = self._own
        if fields.get("algorithm", "").lower().endswith("-sess"):
            secret = hashed(secret, nonce, own)
            said["cnonce"] = own
        asked = hashed(method, url)
        if "auth" in re.split(r"[,\s]+", fields.get("qop", "")):
            self._count += 1
            bare = {"qop": "auth", "nc": f"{self._count:08x}"}
            said["cnonce"] = own
            said["response"] = hashed(secret, nonce, bare["nc"], own, "auth", asked)
        else:
            said["response"] = hashed(secret, nonce, asked)
        if "opaque" in fields:
            said["opaque"] = fields["opaque"]
        if "algorithm" in fields:
            bare["algorithm"] = fields["algorithm"]
        quoted = [f'{name}="{value}"' for name, value in said.items()]
        return "Digest " + ", ".join([*quoted, *(f"{name}={value}" for name, value in bare.items())])
