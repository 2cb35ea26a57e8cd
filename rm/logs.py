"""How log records become text or JSON."""

import json
import logging
import time


class Formatter(logging.Formatter):
    """UTC times, one line per record however many lines a message has; also for JSON."""

    converter = staticmethod(time.gmtime)

    def __init__(self, fmt: str) -> None:
        super().__init__(fmt, datefmt="%Y-%m-%dT%H:%M:%SZ")
        self._is_json = "json_message" in fmt

    def format(self, record: logging.LogRecord) -> str:
        record.json_message = json.dumps(record.getMessage(), ensure_ascii=False)
        if not self._is_json:
            # A name from outside must not be able to forge a second line.
            record.msg, record.args = record.getMessage().replace("\n", "\\n").replace("\r", "\\r"), ()
            return super().format(record)
        if record.exc_info:
            record.json_message = json.dumps(f"{record.getMessage()}\n{self.formatException(record.exc_info)}")
            record.exc_info, record.exc_text = None, None
        return super().format(record)
