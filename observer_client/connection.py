"""One HTTP connection to the server, kept open; tells what may be tried again from what never will do."""

from __future__ import annotations

import json
from time import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from observer_client.config import bare_url

if TYPE_CHECKING:
    from http.client import HTTPConnection

# http.client, ssl, gzip and email are imported where they are used, on the sending thread: together they cost
# more than the rest of the package, and the training waits for none of them.

GZIP_FROM = 1024
ANSWER_LIMIT = 8_000_000
_TRY_AGAIN = frozenset({408, 425, 429})
_LONGEST_WAIT = 600.0


class Unavailable(Exception):
    """The server cannot take it now. ``retry_after`` is the wait it asked for, in seconds."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class Refused(Exception):
    """The server understood and will never take it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


class Connection:
    """Speaks JSON with the server at ``url``. For one thread."""

    def __init__(self, url: str, api_key: str | None = None, timeout: float = 10.0) -> None:
        parts = urlsplit(url)
        self.url = bare_url(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port
        self._base = parts.path.rstrip("/")
        self._secure = parts.scheme == "https"
        self._timeout = timeout
        self._open: HTTPConnection | None = None
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if api_key:
            # Read from a file, a key ends with a line break, which no header may hold.
            self._headers["Authorization"] = f"Bearer {api_key.strip()}"

    def send(self, method: str, path: str, body: Any, prefer: str | None = None, longer: float = 0.0) -> dict[str, Any]:
        """Send ``body`` as JSON and return the answer, an object.

        ``prefer`` is the header of that name, ``longer`` the seconds to wait beyond the usual.
        Raises Unavailable or Refused. Requests must be harmless to repeat: one may be sent twice.
        """
        data = json.dumps(body, allow_nan=False, separators=(",", ":")).encode("ascii")
        headers = dict(self._headers)
        if prefer:
            headers["Prefer"] = prefer
        if len(data) > GZIP_FROM:
            import gzip

            data = gzip.compress(data, compresslevel=3, mtime=0)
            headers["Content-Encoding"] = "gzip"
        status, after, text = self._exchange(method, self._base + path, data, headers, self._timeout + longer)
        return self._judge(status, after, text)

    def _exchange(
        self, method: str, path: str, data: bytes, headers: dict[str, str], timeout: float
    ) -> tuple[int, str | None, bytes]:
        from http.client import BadStatusLine, HTTPException

        kept = self._open is not None
        try:
            connection = self._open = self._open or self._connection()
            connection.timeout = timeout
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            text = response.read(ANSWER_LIMIT + 1)
            if response.will_close or len(text) > ANSWER_LIMIT:
                self.close()
            return response.status, response.getheader("Retry-After"), text
        except (OSError, HTTPException, UnicodeError) as error:
            self.close()
            if kept and isinstance(error, (BadStatusLine, ConnectionError)):
                # The server closed the idle connection: that says nothing about the server.
                return self._exchange(method, path, data, headers, timeout)
            raise Unavailable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from error

    def _connection(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection

        return (HTTPSConnection if self._secure else HTTPConnection)(self._host, self._port)

    def _judge(self, status: int, after: str | None, text: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(text) if text else None
        except ValueError:
            answer = None
        detail = str(answer["detail"]) if isinstance(answer, dict) and answer.get("detail") else ""
        if status in _TRY_AGAIN or status >= 500:
            raise Unavailable(f"the server answered {status} {detail}".rstrip(), seconds_of(after))
        if status >= 400:
            if isinstance(answer, dict) and answer.get("path"):
                detail = f"{detail} (at {answer['path']})"
            raise Refused(status, detail or f"{self.url} answered {status} without saying why; is it an mldiag server?")
        if status >= 300:
            raise Refused(status, f"{self.url} redirects elsewhere; give the address it redirects to")
        if not isinstance(answer, dict):
            # A login page or a captive portal, not a receipt.
            raise Unavailable(f"{self.url} answered something that is no receipt; is it an mldiag server?")
        return answer

    def close(self) -> None:
        """Close the connection; the next `send` opens another one."""
        if self._open is not None:
            self._open.close()
            self._open = None


def seconds_of(retry_after: str | None) -> float | None:
    """Return the wait of a Retry-After header (seconds or a date) in seconds, None when there is none.

    >>> seconds_of("7"), seconds_of(None), seconds_of("soon")
    (7.0, None, None)
    """
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time()
        except ValueError:
            return None
    return max(0.0, min(_LONGEST_WAIT, seconds))
