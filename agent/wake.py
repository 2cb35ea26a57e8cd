"""A bell that any thread or signal handler can ring and that select() hears."""

import os


class Bell:
    """Rings are remembered until they are cleared."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        return self._read

    def ring(self) -> None:
        """Wake whoever waits; safe in a signal handler."""
        try:
            os.write(self._write, b"!")
        except (BlockingIOError, OSError):
            return

    def clear(self) -> None:
        """Forget the rings so far."""
        try:
            while os.read(self._read, 4096):
                continue
        except BlockingIOError:
            return

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)
