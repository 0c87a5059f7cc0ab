"""What a server answers in place of a result."""

from __future__ import annotations

from typing import ClassVar

from ml4ir_losses.core.errors import UserError

CLIENT_GONE = 499
"""The status, in log and metrics alone, of a request whose client went away."""


class RequestError(UserError):
    """A request that cannot be answered; the message is the one line that the client reads."""

    status: ClassVar[int] = 422


class NotJson(RequestError):
    """A body that is not JSON."""

    status = 400


class NotOffered(RequestError):
    """A path that the served run does not answer."""

    status = 404


class Overloaded(RequestError):
    """A request that finds too many others waiting, or waited too long; the client may try again."""

    status = 503
