"""Keeps secrets out of logs: known values in their usual encodings, and whatever has the shape of a key.

It is the formatter of the handlers, not a filter of records: only the formatted text has the traceback in it, and
nothing reaches a handler's stream but through its formatter. Uncaught exceptions go the same way.
"""

import base64
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping
from types import TracebackType
from urllib.parse import quote, urlsplit

from pilotlight.settings import Settings

MARK = "[redacted]"
_SHORTEST = 8
"""Shorter values would take ordinary words out of the log."""
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_SHAPES = re.compile(
    r"""\b(?:fw_|sk-|hf_)[A-Za-z0-9_-]{12,}
    | (?<=://) [^/\s:@]* : [^/\s@]+ (?=@)                                             # user:password of a URL
    | (?i:(?<=bearer\ )|(?<=[?&]sig=)|(?<=[?&]key=)|(?<=[?&]token=)|(?<=[?&]signature=)) [A-Za-z0-9._~+/=%-]{8,}
    """,
    re.VERBOSE,
)


class Redactor:
    """Replaces secrets in a text. It may learn values at any time, from any thread."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        self._known: re.Pattern[str] | None = None
        self.learn(values)

    def learn(self, values: Iterable[str]) -> None:
        """Take out these values from now on; those under eight characters are left alone."""
        self._forms |= {form for value in values if len(value) >= _SHORTEST for form in forms_of(value)}
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        """`text` without secrets."""
        known = self._known
        return _SHAPES.sub(MARK, known.sub(MARK, text) if known else text)


class RedactingFormatter(logging.Formatter):
    """Formats as usual, then redacts the whole text."""

    def __init__(self, redact: Redactor, layout: str = _FORMAT) -> None:
        super().__init__(layout)
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """The line or lines of `record`, traceback included."""
        return self._redact(super().format(record))


def start_logging(environment: Mapping[str, str] = os.environ) -> Redactor:
    """Log to standard error, redacted, and the uncaught exceptions of all threads too.

    Call it first of all: what goes wrong with the settings may quote one. Values of `environment` whose name sounds
    like a secret are known from the start.
    """
    redact = Redactor(value for name, value in environment.items() if _SECRET_NAME.search(name))
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter(redact))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))

    def report_thread(happened: threading.ExceptHookArgs) -> None:
        if happened.exc_value is not None:
            report(happened.exc_type, happened.exc_value, happened.exc_traceback)

    sys.excepthook, threading.excepthook = report, report_thread
    return redact


def secrets_of(settings: Settings) -> list[str]:
    """The secret values among the settings."""
    given = (settings.platform_key, settings.webhook_secret, settings.webhook_url)
    password = urlsplit(settings.control_database_url).password or ""
    return [*(value for secret in given for value in secret.get_secret_value().split()), password]


def forms_of(value: str) -> set[str]:
    """A value as it may stand in a log: plain, URL-quoted, in hex, and in base64 at any place of what is encoded."""
    raw = value.encode()
    forms = {value, quote(value, safe=""), raw.hex(), raw.hex().upper()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            # The first and last characters depend on what stands around the value: they are left out.
            whole = encode(bytes(before) + raw).decode().rstrip("=")
            forms.add(whole[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6])
    return forms
