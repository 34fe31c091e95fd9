"""A server of the lake's reports, and of nothing else: it reads pages, and writes, lists and runs nothing."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
from collections.abc import Sequence

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from tasks.core.errors import DefinitionError, LamplighterError
from tasks.core.storage import Folder

_HOME = "index.html"
_PAGE = ".html"
_CLOSED = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# The page of the expectations folds its parts with a script of ours, its last, and with two buttons.
_DOCS = ".expectations.html"
_LAST_SCRIPT = re.compile(rb".*<script>(.*?)</script>\s*</body>", re.DOTALL)
_BUTTONS = (b"showAllValidations()", b"hideSucceededValidations()")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # A page changes with each run.
    "Cache-Control": "no-cache",
}
_MOST_AT_ONCE = 100
_OK, _NOT_MODIFIED, _MOVED, _NOT_FOUND, _NOT_ALLOWED, _NOT_OURS = 200, 304, 307, 404, 405, 421


class Pages:
    """The ASGI application: GET and HEAD of pages in one folder, asked for by one of these host names."""

    def __init__(self, reports: Folder, names: Sequence[str]) -> None:
        self._reports = reports
        self._names = {name.strip().lower() for name in names if name.strip()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        response = await run_in_threadpool(self._answer, request)
        response.headers.setdefault("Content-Security-Policy", _CLOSED)
        response.headers.update(_HEADERS)
        await response(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        if not self._is_asked_by_name(request.headers.get("host", "")):
            return PlainTextResponse("These pages have another name: LAMPLIGHTER_PAGES_NAMES.\n", _NOT_OURS)
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("Read only.\n", _NOT_ALLOWED, headers={"Allow": "GET, HEAD"})
        key = request.scope["path"].removeprefix("/")
        if key == "health":
            return PlainTextResponse("ok\n")
        return self._page(f"{key}{_HOME}" if not key or key.endswith("/") else key, request)

    def _is_asked_by_name(self, host: str) -> bool:
        """A page of another site, whose name its owner lets point here, must not read these."""
        name = re.sub(r":\d*$", "", host.strip().lower())
        return "*" in self._names or name in self._names

    def _page(self, key: str, request: Request) -> Response:
        if self._is_page(f"{key}/{_HOME}"):
            return RedirectResponse(f"/{key}/", _MOVED)
        if not self._is_page(key):
            return self._nothing(key)
        return _shown(self._reports.read_bytes(key), key, request)

    def _is_page(self, key: str) -> bool:
        """Whether a page has this key; of hidden names, of names that leave the folder, and of other files none has."""
        if not key.endswith(_PAGE) or any(part.startswith(".") for part in key.split("/")):
            return False
        try:
            return self._reports.holds_file(key)
        except LamplighterError:
            return False

    def _nothing(self, key: str) -> Response:
        said = "There is no such page.\n"
        if key == _HOME:
            said = "No page was written yet. The first run writes it: lamplighter score JOB --as-of WINDOW\n"
        return PlainTextResponse(said, _NOT_FOUND)


def serve(reports: Folder, *, host: str, port: int, names: Sequence[str]) -> None:
    """Serves until it is told to stop. DefinitionError where the address cannot be had."""
    with listening_at(host, port) as listener:
        serve_at(listener, reports, names)


def serve_at(listener: socket.socket, reports: Folder, names: Sequence[str]) -> None:
    """Serves at a socket that listens already, until an interrupt, which is the way to end it."""
    config = uvicorn.Config(
        Pages(reports, names),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        limit_concurrency=_MOST_AT_ONCE,
        timeout_graceful_shutdown=3,
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        return


def listening_at(host: str, port: int) -> socket.socket:
    """A socket at this address; DefinitionError where it is taken, or none of this machine's."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host.strip("[]"), port), family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        raise DefinitionError(
            f"the pages cannot be served at {host}:{port}: {getattr(error, 'strerror', None) or error}",
            state="nothing was started",
            next_step="lamplighter pages --port 0 takes a free port",
        ) from error


def _shown(html: bytes, key: str, request: Request) -> Response:
    tag = f'"{hashlib.sha256(html).hexdigest()[:32]}"'
    headers = {"ETag": tag}
    if key.endswith(_DOCS):
        headers["Content-Security-Policy"] = _policy_of_docs(html)
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=_NOT_MODIFIED, headers=headers)
    return Response(html, _OK, headers=headers, media_type="text/html")


def _policy_of_docs(html: bytes) -> str:
    """The closed policy, but for the page's own last script and its buttons; what data might slip in does not run."""
    found = _LAST_SCRIPT.match(html)
    scripts = [*([found[1]] if found else []), *_BUTTONS]
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one).digest()).decode()}'" for one in scripts)
    return f"{_CLOSED}; script-src 'unsafe-hashes' {hashes}"
