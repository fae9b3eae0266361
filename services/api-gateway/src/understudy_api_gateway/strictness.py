"""Bodies are taken as they are: the framework would read "5" as a number and "no" as a truth value."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Request
from litestar.exceptions import ValidationException

_BODY: Final = "data"  # the argument of a handler that takes the body


class StrictRequest(Request[Any, Any, Any]):
    """A request whose body must have the types that its handler asks for."""

    async def json(self) -> Any:
        """The body.

        Raises:
            ValidationException: it is of another form; the message names the field.
        """
        value = await super().json()
        asked = self.route_handler.parsed_fn_signature.parameters.get(_BODY)
        if asked is not None:
            try:
                msgspec.convert(value, asked.annotation, strict=True)
            except msgspec.ValidationError as error:
                raise _problem_of(error) from None
        return value


def _problem_of(error: msgspec.ValidationError) -> ValidationException:
    message, _, path = str(error).partition(" - at `")
    field = path.removeprefix("$").removeprefix(".").removesuffix("`")
    return ValidationException(extra=[{"key": field, "message": message, "source": "body"}])
