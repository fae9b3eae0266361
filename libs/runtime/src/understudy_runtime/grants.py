"""Short signed statements of the host that a machine can check without asking anyone: permits to record,
grants to fetch footage, tokens to erase, grants to see a camera.

Form: base64url(JSON) `.` base64url(Ed25519 signature over the JSON). Each purpose has a key of its own, so
that a service can say only what is its business.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey
from understudy_contracts.errors import ConfigurationError, Refused


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is granted: `purpose` (permit, fetch, erase, media), to which `machine`, until when (UTC ms).

    `serial` makes a token single-use where that matters. `camera` is the one whose pictures may be seen.
    """

    purpose: str
    machine: str
    expires_at: int
    failover: str | None = None
    epoch: int = 0
    serial: str = ""
    camera: str = ""


class Signer:
    """Signs grants with a private key."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> Signer:
        return cls(SigningKey.generate())

    @classmethod
    def from_file(cls, path: str) -> Signer:
        """Read the key that `save` wrote.

        Raises:
            ConfigurationError: no path is set, or the file does not hold a key.
        """
        if not path:
            raise ConfigurationError(
                "no signing key: set UNDERSTUDY_SIGNING_KEY to the path of this service's"
            )
        try:
            return cls(SigningKey(base64.b64decode(Path(path).read_text(encoding="ascii"))))
        except (OSError, ValueError, binascii.Error) as error:
            raise ConfigurationError(f"cannot read the signing key {path}: {error}") from None

    def save(self, path: Path) -> None:
        path.touch(mode=0o600)
        path.write_text(base64.b64encode(bytes(self._key)).decode("ascii"), encoding="ascii")

    @property
    def public_key(self) -> str:
        return base64.b64encode(bytes(self._key.verify_key)).decode("ascii")

    def sign(self, grant: Grant) -> str:
        body = msgspec.json.encode(grant)
        return f"{_encode(body)}.{_encode(self._key.sign(body).signature)}"


def verify_grant(token: str, public_key: str, *, purpose: str, machine: str, now_ms: int) -> Grant:
    """The grant in `token`.

    Raises:
        Refused: not signed by this key, for another purpose or machine, or expired.
    """
    try:
        body_text, _, signature_text = token.partition(".")
        body, signature = _decode(body_text), _decode(signature_text)
        VerifyKey(base64.b64decode(public_key)).verify(body, signature)
        grant = msgspec.json.decode(body, type=Grant)
    except (BadSignatureError, ValueError, TypeError, binascii.Error, msgspec.DecodeError):
        raise Refused(f"the {purpose} token is not signed by this host") from None
    if grant.purpose != purpose or grant.machine != machine:
        raise Refused(f"the token is for {grant.purpose} on {grant.machine}, not for {purpose} on {machine}")
    if now_ms >= grant.expires_at:
        raise Refused(f"the {purpose} token has expired")
    return grant


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
