"""Joining the host: once, over HTTP, with the token that adding the server gave out."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import msgspec
import nkeys
import structlog
from understudy_bus.authority import KeyPair
from understudy_contracts.errors import ConfigurationError
from understudy_contracts.joining import JoinReply, JoinRequest
from understudy_runtime.retry import pauses

from understudy_recording_server.identity import AgentRecord
from understudy_recording_server.private_files import remove_private, write_private

JOIN_PATH = "/api/v1/join"
KEY_FILE = "joining.key"
REQUEST_TIMEOUT_S = 10.0
LONGEST_PAUSE_S = 5.0
MAXIMUM_REPLY_BYTES = 1 << 20
TRY_LATER = frozenset({408, 425, 429})

log = structlog.get_logger()


class _Problem(msgspec.Struct):
    """RFC 9457, the part that a person wants to read."""

    title: str = ""
    detail: str = ""


def invitation(host: str, token: str) -> str:
    """Tells one invitation from another; the token cannot be found from it."""
    return hashlib.sha256(f"{host}\n{token}".encode()).hexdigest()


def own_version() -> str:
    return version("understudy-recording-server")


async def join(
    host: str, token: str, data_dir: Path, *, maximum_cameras: int, before: AgentRecord | None
) -> tuple[AgentRecord, str | None]:
    """Join the host at `host`, waiting for it as long as it is not up. Returns the record, not saved yet, and
    the token to erase this machine, if one came with it.

    A machine that was joined before keeps its credential, its fences and its duty when it comes back to the
    same host as the same server.

    Raises:
        ConfigurationError: the host refuses, or what answers is no host; or the disk does not take the key.
    """
    address = _join_address(host)
    if not token:
        raise ConfigurationError(
            "no token to join with: add the server at the host and give its token with UNDERSTUDY_JOIN_TOKEN"
        )
    keys = KeyPair.from_seed(before.seed) if before else _new_keys(data_dir)
    request = JoinRequest(
        token=token,
        public_key=keys.public,
        version=own_version(),
        maximum_cameras=maximum_cameras,
        machine=before.machine if before else None,
    )
    reply = await _ask(address, msgspec.json.encode(request))
    record = AgentRecord(
        machine=reply.machine,
        site=reply.site,
        server=reply.server,
        server_name=reply.server_name,
        role=reply.role,
        seed=keys.seed,
        user_jwt=reply.user_jwt,
        nats_urls=reply.nats_urls,
        subject_prefix=reply.subject_prefix,
        trust=reply.trust,
        joined_with=invitation(host, token),
    )
    return _carried_over(before, record), reply.erase_token


def _new_keys(data_dir: Path) -> KeyPair:
    """The machine's key, on disk before the host hears of it: a token can be used once, and who used it and
    crashed before it had the answer can ask again with the same key."""
    path = data_dir / KEY_FILE
    try:
        if path.exists():
            return KeyPair.from_seed(path.read_text(encoding="ascii"))
        keys = KeyPair.generate_user()
        write_private(path, keys.seed.encode("ascii"))
    except (OSError, ValueError, nkeys.NkeysError) as error:
        raise ConfigurationError(f"cannot use the machine's key {path}: {error}; remove it") from None
    return keys


def forget_joining_key(data_dir: Path) -> None:
    """The key is in agent.json now.

    Raises:
        OSError: the disk said no.
    """
    remove_private(data_dir / KEY_FILE)


def _carried_over(before: AgentRecord | None, record: AgentRecord) -> AgentRecord:
    # Another host (it signs with other keys) counts epochs of its own: the old fences mean nothing there.
    if before is None or before.trust != record.trust:
        return record
    record = msgspec.structs.replace(
        record, fence=before.fence, lanes=before.lanes, used_serials=before.used_serials
    )
    if (before.machine, before.server, before.role) != (record.machine, record.server, record.role):
        return record
    return msgspec.structs.replace(
        record, duty=before.duty, authority=before.authority, configuration=before.configuration
    )


def _join_address(host: str) -> str:
    try:
        parts = urlsplit(host)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(
            f"{host[:120]!r} is no address of a host: expected http://HOST:PORT or https://HOST:PORT"
        )
    return host.rstrip("/") + JOIN_PATH


async def _ask(address: str, body: bytes) -> JoinReply:
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    waiting = pauses(0.25, LONGEST_PAUSE_S)
    last_reason = ""
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            try:
                return await _ask_once(session, address, body)
            except (ssl.SSLError, aiohttp.ClientSSLError) as error:
                raise ConfigurationError(f"the host at {address} cannot be trusted: {error}") from None
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason = str(error) or type(error).__name__
            if reason != last_reason:
                log.warning("waiting for the host", host=address, reason=reason)
                last_reason = reason
            await asyncio.sleep(next(waiting))


async def _ask_once(session: aiohttp.ClientSession, address: str, body: bytes) -> JoinReply:
    headers = {"Content-Type": "application/json"}
    async with session.post(address, data=body, headers=headers, allow_redirects=False) as response:
        content = await response.content.read(MAXIMUM_REPLY_BYTES)
        if response.status >= 500 or response.status in TRY_LATER:
            raise aiohttp.ClientResponseError(
                response.request_info, (), status=response.status, message="the host is not ready"
            )
        if response.status >= 300:
            raise ConfigurationError(f"the host refuses this machine: {_refusal(response.status, content)}")
    try:
        return msgspec.json.decode(content, type=JoinReply)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"what answers at {address} is no Understudy host: {error}") from None


def _refusal(status: int, content: bytes) -> str:
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        problem = _Problem()
    text = problem.detail or problem.title or f"it answers with HTTP status {status}"
    return " ".join(text.split())[:300]
