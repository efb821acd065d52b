"""Where the server is, who we are, and one way to call it. A failure becomes one paragraph with the next step."""

import configparser
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import click
import httpx

from pilotlight.settings import Settings

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_KEY_VARIABLES = ("FIREWORKS_API_KEY", "FIREWORKS_AGENT_API_KEY")


class Connection:
    """A client of the control process. Key and account are looked up when first needed, so `version` needs neither."""

    def __init__(self, account: str | None = None, key: str | None = None, profile: str | None = None) -> None:
        self._account, self._key = account, key
        self._auth = _read_auth(profile)
        self._own_url = Settings().control_url
        self.url = _check_url(os.environ.get("FIREWORKS_BASE_URL") or os.environ.get("PILOTLIGHT_URL") or self._own_url)

    @property
    def key(self) -> str:
        """The API key. Raises ClickException saying where one may be put."""
        from_environment = next((os.environ[name] for name in _KEY_VARIABLES if os.environ.get(name)), "")
        # The admin's key is for the server of this machine: it is never sent to another.
        own = _admin_key() if _same_server(self.url, self._own_url) else ""
        key = (self._key or from_environment or self._auth.get("api_key", "") or own).strip()
        if not key.isascii() or not key.isprintable():
            raise click.ClickException("The API key has characters that no key has. Paste it again.")
        if not key:
            raise click.ClickException(
                "No API key. Pass --api-key, or set FIREWORKS_API_KEY; `pilotlight up` prints where the first one is."
            )
        return key

    @property
    def account(self) -> str:
        """The account ID: -a, the environment, auth.ini, or the key's own account."""
        if not self._account:
            known = os.environ.get("FIREWORKS_ACCOUNT_ID") or self._auth.get("account_id", "")
            self._account = known or str(self.get("/v1/whoami")["account"])
        return self._account.removeprefix("accounts/")

    def path(self, suffix: str) -> str:
        """`/v1/accounts/<account>/<suffix>`."""
        return f"/v1/accounts/{self.account}/{suffix}"

    def name(self, value: str, collection: str) -> str:
        """The path of a resource given as a short ID or a full name [F7]."""
        path = quote(value, safe="/")
        return f"/v1/{path}" if value.startswith("accounts/") else self.path(f"{collection}/{path}")

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """GET a JSON object; query values of None are left out."""
        return self._call("GET", path, params={name: value for name, value in query.items() if value is not None})

    def post(self, path: str, body: dict[str, Any], **query: Any) -> dict[str, Any]:
        """POST a JSON object and return the reply."""
        params = {name: value for name, value in query.items() if value is not None}
        return self._call("POST", path, json=body, params=params)

    def delete(self, path: str) -> dict[str, Any]:
        """DELETE a resource."""
        return self._call("DELETE", path)

    def upload(self, path: str, name: str, file: BinaryIO) -> dict[str, Any]:
        """POST a file as multipart field `file`, streamed."""
        return self._call("POST", path, files={"file": (name, file, "application/jsonl")}, timeout=None)

    def stream(self, path: str, headers: dict[str, str] | None = None) -> httpx.Client:
        """A client for reading a stream; the caller closes it."""
        return httpx.Client(
            base_url=self.url, headers=self._headers() | (headers or {}), timeout=httpx.Timeout(10, read=45)
        )

    def pages(self, path: str, collection: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Every resource of a collection over all pages."""
        token: str | None = None
        while True:
            page = self.get(path, **{**query, "pageToken": token or query.get("pageToken")})
            yield from page.get(collection, [])
            token = page.get("nextPageToken")
            if not token:
                return

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        arguments.setdefault("timeout", 60)
        try:
            response = httpx.request(method, self.url + path, headers=self._headers(), **arguments)
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from error
        if response.is_error:
            raise refused(response)
        try:
            return response.json() if response.content else {}
        except ValueError as error:
            raise click.ClickException(
                f"{self.url} answered something else than JSON. Is that the agent? Check FIREWORKS_BASE_URL."
            ) from error

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


class Unreachable(click.ClickException):
    """Nobody answers."""


def unreachable(url: str, error: Exception) -> Unreachable:
    """Nobody answers at `url`."""
    return Unreachable(
        f"Cannot reach {url} ({type(error).__name__}: {error}). Start it with `make up` or `pilotlight up`, or point "
        "FIREWORKS_BASE_URL at a running server."
    )


def refused(response: httpx.Response) -> click.ClickException:
    """The server's own words, and what to do about the usual ones."""
    response.read()
    try:
        body: Any = response.json()
        error: Any = body.get("error", body)
        message = error.get("message", "") if isinstance(error, dict) else str(error)
    except ValueError:
        message = response.text[:300]
    hints = {
        401: "Check the key: --api-key, FIREWORKS_API_KEY, or `firectl whoami`.",
        404: "Check the ID and the account (-a); `list` shows what exists.",
    }
    hint = hints.get(response.status_code, "")
    return click.ClickException(
        f"{message or 'The server refused the request.'} [{response.status_code}] {hint}".strip()
    )


def _check_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise click.UsageError(f"{url!r} is not a URL ({error}). Correct FIREWORKS_BASE_URL.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise click.UsageError(f"{url!r} is not an http URL. Write FIREWORKS_BASE_URL as http://127.0.0.1:8787.")
    return url.rstrip("/")


def _same_server(left: str, right: str) -> bool:
    one, other = httpx.URL(left), httpx.URL(right)
    return one.port == other.port and (one.host == other.host or {one.host, other.host} <= _LOOPBACK)


def _admin_key() -> str:
    path = Settings().home / "admin.key"
    return path.read_text().strip() if path.exists() and os.access(path, os.R_OK) else ""


def _read_auth(profile: str | None) -> dict[str, str]:
    folder = Path.home() / ".fireworks"
    path = folder / "profiles" / profile / "auth.ini" if profile else folder / "auth.ini"
    if profile and not path.exists():
        raise click.UsageError(f"Profile {profile!r} has no {path}.")
    parser = configparser.ConfigParser(default_section="fireworks")
    if path.exists():
        text = path.read_text()
        parser.read_string(text if text.lstrip().startswith("[") else f"[fireworks]\n{text}")
    merged = dict(parser.defaults())
    for section in parser.sections():
        merged |= dict(parser[section])
    return merged
