"""Who may use the bus: an operator, an account, and a signed credential (JWT) per user.

The NATS server trusts the operator; the account signs users, so that a machine can join at any time
without touching the server. Written to one folder on the host, private to its owner:

    nats-authority.conf   to be included in the server's configuration
    account.seed          signs machines (the api-gateway's)
    <role>.creds          one per control service, and `observer` for people
    <role>.key            the signing key of a service that issues grants
    trust.json            the public keys of those, by purpose
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import nkeys
from understudy_contracts.errors import ConfigurationError
from understudy_contracts.model import Service
from understudy_contracts.subjects import MachineAddress, Subjects
from understudy_runtime.grants import Signer

from understudy_bus.permissions import (
    OBSERVER,
    Permissions,
    machine_permissions,
    observer_permissions,
    service_permissions,
)

# The purpose of a grant, and the service whose key signs it.
GRANT_SIGNERS: Mapping[str, Service] = {
    "permit": Service.LICENSE_BROKER,
    "fetch": Service.RECORDING_SYNC,
    "erase": Service.API_GATEWAY,
    "media": Service.API_GATEWAY,
}

_UNLIMITED = {"subs": -1, "data": -1, "payload": -1}


@dataclass(frozen=True)
class KeyPair:
    """An nkey: the public half as text, the seed private."""

    public: str
    seed: str

    @classmethod
    def generate(cls, prefix: int) -> KeyPair:
        return cls.from_seed(nkeys.encode_seed(os.urandom(32), prefix).decode("ascii"))

    @classmethod
    def generate_user(cls) -> KeyPair:
        return cls.generate(nkeys.PREFIX_BYTE_USER)

    @classmethod
    def from_seed(cls, seed: str) -> KeyPair:
        pair = nkeys.from_seed(bytearray(seed.encode("ascii")))
        return cls(public=pair.public_key.decode("ascii"), seed=seed)

    def sign(self, data: bytes) -> bytes:
        signature: bytes = nkeys.from_seed(bytearray(self.seed.encode("ascii"))).sign(data)
        return signature


class AccountSigner:
    """Signs users of the one account."""

    def __init__(self, account: KeyPair) -> None:
        self._account = account

    @classmethod
    def from_file(cls, path: str) -> AccountSigner:
        """Read `account.seed`.

        Raises:
            ConfigurationError: there is none at `path`.
        """
        try:
            return cls(KeyPair.from_seed(Path(path).read_text(encoding="ascii").strip()))
        except (OSError, ValueError, nkeys.NkeysError) as error:
            raise ConfigurationError(f"cannot read the account's seed {path!r}: {error}") from None

    def user_jwt(self, public_key: str, name: str, permissions: Permissions) -> str:
        """A credential for the holder of the seed behind `public_key`."""
        claims = {
            "pub": {"allow": permissions.publish},
            "sub": {"allow": permissions.subscribe, "deny": permissions.hidden},
            "resp": {"max": 1, "ttl": 300_000_000_000},
            "type": "user",
            "version": 2,
            **_UNLIMITED,
        }
        return _jwt(self._account, public_key, name, claims)

    def machine_jwt(self, public_key: str, address: MachineAddress, subjects: Subjects) -> str:
        return self.user_jwt(public_key, address.machine, machine_permissions(address, subjects))


def is_user_key(public_key: str) -> bool:
    """Whether this is the public half of a user nkey."""
    try:
        raw = base64.b32decode(public_key.encode("ascii") + b"=" * (-len(public_key) % 8))
    except ValueError:
        return False
    return len(raw) == 35 and raw[0] == nkeys.PREFIX_BYTE_USER and public_key.startswith("U")


def write_authority(folder: Path, subjects: Subjects = Subjects()) -> None:  # noqa: B008 - frozen
    """Create the files above in `folder`, unless they are there already.

    Raises:
        ConfigurationError: the folder cannot be written.
    """
    if (folder / "trust.json").exists():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_all(folder, subjects)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write the keys of this host to {folder}: {error.strerror}"
        ) from None


def _write_all(folder: Path, subjects: Subjects) -> None:
    operator = KeyPair.generate(nkeys.PREFIX_BYTE_OPERATOR)
    system = KeyPair.generate(nkeys.PREFIX_BYTE_ACCOUNT)
    account = KeyPair.generate(nkeys.PREFIX_BYTE_ACCOUNT)
    signer = AccountSigner(account)
    _write_private(folder / "account.seed", account.seed)
    _write_private(folder / "nats-authority.conf", _server_configuration(operator, system, account))
    for service in Service:
        write_credentials(
            folder / f"{service}.creds", signer, str(service), service_permissions(service, subjects)
        )
    write_credentials(folder / "observer.creds", signer, OBSERVER, observer_permissions(subjects))
    keys = {service: Signer.generate() for service in GRANT_SIGNERS.values()}
    for service, key in keys.items():
        key.save(folder / f"{service}.key")
    trust = {purpose: keys[service].public_key for purpose, service in GRANT_SIGNERS.items()}
    # Last: its presence says that everything else is there.
    _write_private(folder / "trust.json", msgspec.json.encode(trust).decode())


def write_credentials(path: Path, signer: AccountSigner, name: str, permissions: Permissions) -> None:
    """Make a new user and write its .creds file."""
    user = KeyPair.generate_user()
    _write_private(path, credentials_text(signer.user_jwt(user.public, name, permissions), user.seed))


def credentials_text(user_jwt: str, seed: str) -> str:
    """The form of a .creds file, as the NATS tools write it."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )


def _server_configuration(operator: KeyPair, system: KeyPair, account: KeyPair) -> str:
    operator_jwt = _jwt(operator, operator.public, "understudy", {"type": "operator", "version": 2})
    system_jwt = _jwt(operator, system.public, "SYS", _account_claims(jetstream=False))
    account_jwt = _jwt(operator, account.public, "UNDERSTUDY", _account_claims(jetstream=True))
    return (
        f"operator: {operator_jwt}\n"
        f"system_account: {system.public}\n"
        "resolver: MEMORY\n"
        "resolver_preload: {\n"
        f"  {system.public}: {system_jwt}\n"
        f"  {account.public}: {account_jwt}\n"
        "}\n"
    )


def _account_claims(*, jetstream: bool) -> dict[str, Any]:
    limits: dict[str, Any] = {
        **_UNLIMITED,
        "imports": -1,
        "exports": -1,
        "wildcards": True,
        "conn": -1,
        "leaf": -1,
    }
    if jetstream:
        limits |= {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    return {"limits": limits, "default_permissions": {"pub": {}, "sub": {}}, "type": "account", "version": 2}


def _jwt(issuer: KeyPair, subject: str, name: str, nats: dict[str, Any]) -> str:
    claims = {"iat": int(time.time()), "iss": issuer.public, "name": name, "nats": nats, "sub": subject}
    claims["jti"] = (
        base64.b32encode(hashlib.sha256(msgspec.json.encode(claims)).digest()).decode().rstrip("=")
    )
    header = msgspec.json.encode({"typ": "JWT", "alg": "ed25519-nkey"})
    signed = f"{_base64url(header)}.{_base64url(msgspec.json.encode(claims))}"
    return f"{signed}.{_base64url(issuer.sign(signed.encode('ascii')))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def main(arguments: list[str]) -> int:
    """`python -m understudy_bus.authority FOLDER`: make the keys of a host, once."""
    if len(arguments) != 1:
        print("usage: python -m understudy_bus.authority FOLDER", file=sys.stderr)
        return 2
    try:
        write_authority(Path(arguments[0]))
    except ConfigurationError as error:
        print(error.message, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
