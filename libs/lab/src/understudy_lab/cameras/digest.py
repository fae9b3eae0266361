"""Digest login as cameras speak it: MD5 without quality of protection, or `auth` (RFC 2617)."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

REALM = "understudy-lab"

_FIELD = re.compile(r'\s*([A-Za-z]+)=(?:"([^"]*)"|([^",\s]*))\s*(?:,|\Z)')


@dataclass(frozen=True, slots=True)
class Login:
    username: str
    password: str


def challenge(nonce: str) -> str:
    """The value of WWW-Authenticate."""
    return f'Digest realm="{REALM}", nonce="{nonce}", algorithm=MD5'


def accepts(login: Login, nonce: str, method: str, url: str, authorization: str) -> bool:
    """Whether the value of Authorization proves the password for this request and nonce."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "digest":
        return False
    fields = {m[1].lower(): m[2] if m[2] is not None else m[3] for m in _FIELD.finditer(rest)}
    if fields.get("username") != login.username or fields.get("nonce") != nonce:
        return False
    if fields.get("realm") != REALM or fields.get("uri") != url:
        return False
    proof = [_md5(f"{login.username}:{REALM}:{login.password}"), nonce]
    if "qop" in fields:
        proof += [fields.get("nc", ""), fields.get("cnonce", ""), fields["qop"]]
    expected = _md5(":".join([*proof, _md5(f"{method}:{url}")]))
    return hmac.compare_digest(expected.encode(), fields.get("response", "").lower().encode())


def _md5(text: str) -> str:
    # The RTSP standard's digest; it protects nothing but a laboratory's cameras.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
