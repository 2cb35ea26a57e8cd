"""Named errors: services raise them, each edge translates them once."""


class RmError(Exception):
    """Something a caller did or asked for cannot be done; `status` is HTTP's, `code` ours, `help` says what to do."""

    status = 500
    code = "internal"

    def __init__(self, message: str, *, code: str | None = None, help: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        if code is not None:
            self.code = code


class NotFound(RmError):
    status = 404
    code = "not_found"


class Invalid(RmError):
    """Input that does not fit; `fields` maps each field to what is wrong with it."""

    status = 422
    code = "invalid"

    def __init__(self, fields: dict[str, str], message: str = "Some fields need another look.") -> None:
        super().__init__(message)
        self.fields = fields


class Conflict(RmError):
    status = 409
    code = "conflict"


class Forbidden(RmError):
    status = 403
    code = "forbidden"


class Unauthorised(RmError):
    status = 401
    code = "unauthorised"


class Gone(RmError):
    status = 410
    code = "gone"


class TooMany(RmError):
    """Too many attempts; `retry_after_seconds` says when the next one is allowed."""

    status = 429
    code = "too_many"

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class HostOffline(RmError):
    status = 409
    code = "host_offline"


class Unavailable(RmError):
    """The server cannot do this just now: the disk is full, the database is busy."""

    status = 503
    code = "unavailable"


class NotReady(RmError):
    """The server must not start as it is: wrong key file, newer database, data directory in use."""

    code = "not_ready"
