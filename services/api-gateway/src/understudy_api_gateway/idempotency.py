"""`Idempotency-Key`: the same key of the same user gets the first answer again, for a day.

Answers may hold what is shown only once (join tokens), so they are sealed with a key made from the client's
own; MongoDB holds neither. Only answers of success are kept: what was refused may be tried again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from understudy_contracts.errors import Conflict, InvalidInput, UnderstudyError
from understudy_store.database import Documents

from understudy_api_gateway.identity import Identity
from understudy_api_gateway.parts import Parts

KEPT_MS: Final = 24 * 3_600_000
# Longer than any request of ours takes: the gateway that claimed it has died meanwhile.
ABANDONED_MS: Final = 60_000
_KEY = re.compile(r"[!-~]{1,200}")
_HANDLE: Final = "understudy.idempotency"

log = structlog.get_logger()


class FirstAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """`id` is made from user and key; `request` is the fingerprint of what was asked; without `status`
    it is still being carried out, by whoever drew `claim`."""

    id: str
    request: str
    at: int
    claim: str
    status: int | None = None
    media_type: str = ""
    sealed: str = ""


class Claim(msgspec.Struct, frozen=True):
    """This request is the first with its key."""

    document: FirstAnswer
    seal: bytes


class Idempotency:
    """Claims keys before handlers run, keeps their answers, gives them again."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._answers: Documents[FirstAnswer] = parts.database.documents("idempotency", FirstAnswer, "id")

    async def tidy(self) -> None:
        """Forget what is older than a day."""
        before = self._parts.clock.wall_ms() - KEPT_MS
        await self._answers.raw.delete_many({"at": {"$lt": before}})

    async def before(self, request: Request[Identity, Any, Any]) -> Response[bytes] | None:
        """The first answer, if there was one; else claim the key for this request.

        Raises:
            InvalidInput: the key is empty, too long or not ASCII, or was used for another request.
            Conflict: the first request with this key is still being carried out.
        """
        key = request.headers.get("idempotency-key")
        identity = request.scope.get("user")
        if key is None or request.method in {"GET", "HEAD", "OPTIONS"} or not isinstance(identity, Identity):
            return None
        if _KEY.fullmatch(key) is None:
            raise InvalidInput("Idempotency-Key must be 1 to 200 visible ASCII characters")
        claim = await self._claim(request, identity, key)
        if isinstance(claim, Response):
            return claim
        request.scope["state"][_HANDLE] = claim
        return None

    async def after(self, scope: Any, status: int, media_type: str, body: bytes) -> None:
        """Keep the answer of the request that claimed a key; free the key if it failed."""
        claim = scope.get("state", {}).pop(_HANDLE, None)
        if not isinstance(claim, Claim):
            return
        document = claim.document
        mine = {"claim": document.claim}
        try:
            if 200 <= status < 300:
                sealed = SecretBox(claim.seal).encrypt(body).hex()
                answer = msgspec.structs.replace(
                    document, status=status, media_type=media_type, sealed=sealed
                )
                await self._answers.replace(answer, where=mine)
            else:
                await self._answers.raw.delete_one({"_id": document.id, **mine})
        except UnderstudyError as error:
            log.warning("answer not kept for its idempotency key", error=error.message)

    async def _claim(
        self, request: Request[Identity, Any, Any], identity: Identity, key: str
    ) -> Response[bytes] | Claim:
        now = self._parts.clock.wall_ms()
        asked = hashlib.sha256(
            msgspec.json.encode([request.method, str(request.url.path), str(request.url.query)])
            + await request.body()
        ).hexdigest()
        document = FirstAnswer(
            id=_digest("id", identity.user, key).hex(), request=asked, at=now, claim=_fresh()
        )
        seal = _digest("seal", identity.user, key)
        try:
            await self._answers.insert(document)
            return Claim(document, seal)
        except Conflict:
            first = await self._answers.get(document.id)
        if first is not None and first.at > now - KEPT_MS:
            if first.request != asked:
                raise InvalidInput("this Idempotency-Key was used for another request: take a new one")
            if first.status is not None:
                return _again(first, seal)
            if first.at > now - ABANDONED_MS:
                raise Conflict("the first request with this Idempotency-Key is still being carried out")
        where = {"claim": first.claim} if first is not None else None
        if not await self._answers.replace(document, where=where, upsert=first is None):
            raise Conflict("the first request with this Idempotency-Key is still being carried out")
        return Claim(document, seal)


def _again(first: FirstAnswer, seal: bytes) -> Response[bytes]:
    try:
        body = SecretBox(seal).decrypt(bytes.fromhex(first.sealed))
    except (CryptoError, ValueError):
        raise Conflict("the answer kept for this Idempotency-Key cannot be read: take a new key") from None
    headers = {"Idempotency-Replayed": "true"}
    return Response(body, status_code=first.status or 200, media_type=first.media_type, headers=headers)


def _digest(purpose: str, user: str, key: str) -> bytes:
    return hashlib.sha256(msgspec.json.encode([purpose, user, key])).digest()


def _fresh() -> str:
    import secrets

    return secrets.token_hex(8)


async def tidy_regularly(idempotency: Idempotency, every_s: float = 600) -> None:
    """Forget old answers now and then; runs until cancelled."""
    while True:
        try:
            await idempotency.tidy()
        except UnderstudyError as error:
            log.info("not tidied", error=error.message)
        await asyncio.sleep(every_s)
