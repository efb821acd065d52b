"""Logs never hold a secret; the processes that write them are started for real."""

import base64
import logging
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotlight.keys import mint_key
from pilotlight.redaction import MARK, RedactingFormatter, Redactor, secrets_of
from pilotlight.settings import Settings

VALUE = "pa/ss+word=&ü?42"
RAW = VALUE.encode()


@pytest.mark.parametrize(
    "text",
    [
        VALUE,
        f"before{VALUE}after",
        quote(VALUE, safe=""),
        RAW.hex(),
        RAW.hex().upper(),
        base64.b64encode(RAW).decode(),
        base64.b64encode(b"u:" + RAW).decode(),
        base64.b64encode(b"us:" + RAW + b"\n").decode(),
        base64.urlsafe_b64encode(b"x" + RAW).decode(),
    ],
)
def test_known_value_is_taken_out_in_every_form(text: str) -> None:
    found = Redactor([VALUE])(text)
    assert MARK in found
    assert len(found.replace(MARK, "")) < 12, "what is left are characters around the value"
    assert Redactor()(text) == text, "the shape alone gives nothing away"


@given(value=st.text(st.characters(codec="utf-8"), min_size=8), before=st.binary(), after=st.binary())
def test_any_known_value_is_found_inside_of_anything(value: str, before: bytes, after: bytes) -> None:
    raw = value.encode()
    if value in MARK or not value.isprintable():
        return
    redact = Redactor([value])
    for text in (
        raw.hex(),
        base64.b64encode(before + raw + after).decode(),
        base64.urlsafe_b64encode(before + raw + after).decode(),
        quote(value, safe=""),
        f"<{value}>",
    ):
        assert MARK in redact(text)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        # as `mint_key` makes them; written out, so that every process of a test run has the same test
        ("key fw_0gcUh4tvbR0NTq3IPev0eApxr3x8ReVO39zxIG used", "fw_"),
        ("key=fw_3ZabcdefghijklmnopqrstuV.", "fw_"),
        ("x-api-key: sk-ant-api03-abcDEF_123-xyz", "sk-ant"),
        ("token hf_abcdefghijklmnopqrst", "hf_"),
        ("Authorization: Bearer abc.DEF-123_456", "abc.DEF"),
        ("{'authorization': 'bearer 0123456789abcdef'}", "0123456789"),
        ("postgresql://pilot:hunter2@db.internal/pilot", "hunter2"),
        ("GET /files/x?expires=1&signature=0123456789abcdef HTTP/1.1", "0123456789abcdef"),
    ],
)
def test_what_has_the_shape_of_a_secret_is_taken_out(text: str, secret: str) -> None:
    found = Redactor()(text)
    assert secret not in found
    assert MARK in found


@pytest.mark.parametrize(
    "text",
    [
        "Serving http://127.0.0.1:8787",
        "Session 1779157376-41e1 could not run: no space",
        "GET /v1/accounts/local/sessions?pageSize=50&orderBy=createTime",
        "fw_short, sk-x, task-scheduler-of-the-platform, the bearer of news",
        "mail to ann@acme.example: 12:30",
    ],
)
def test_ordinary_lines_stay(text: str) -> None:
    assert Redactor(["short", ""])(text) == text


def test_arguments_and_tracebacks_of_a_record_are_redacted() -> None:
    formatter = RedactingFormatter(Redactor([VALUE]))
    try:
        raise ValueError(f"refused {VALUE}")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "key %s", (VALUE,), sys.exc_info())
    text = formatter.format(record)
    assert (VALUE in text, text.count(MARK)) == (False, 2)
    assert "ValueError" in text


def test_secrets_of_the_settings_are_known(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        platform_key="upstream-key-value",  # pyright: ignore[reportArgumentType]
        database_url="postgresql://pilot:hunter2hunter2@db/pilot",
        webhook_url="https://chat/hooks/secret-path",  # pyright: ignore[reportArgumentType]
        webhook_secret="whsec_one whsec_two",  # pyright: ignore[reportArgumentType]
    )
    assert set(secrets_of(settings)) == {
        "upstream-key-value", "hunter2hunter2", "https://chat/hooks/secret-path", "whsec_one", "whsec_two"
    }  # fmt: skip


@pytest.mark.parametrize("module", ["agent.serve", "local_platform.serve"])
def test_process_that_dies_of_its_settings_does_not_print_them(tmp_path: Path, module: str) -> None:
    """A key pasted into the wrong variable is quoted by the validation error, in a traceback that nobody catches."""
    key, other = mint_key().secret, "another-secret-value-0042"
    environment = os.environ | {"PILOTLIGHT_HOME": str(tmp_path), "PILOTLIGHT_PORT": key, "SOME_API_TOKEN": other}
    environment["PILOTLIGHT_PLATFORM_JOBS"] = other
    done = subprocess.run(
        [sys.executable, "-P", "-m", module], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "validation errors for Settings" in done.stderr
    assert f"input_value='{MARK}'" in done.stderr
    assert (key in done.stderr, other in done.stderr) == (False, False)
