"""A server that speaks S3, moto's, and before it a proxy that counts its requests and spoils those that a test names.

Why moto: it honours If-None-Match and If-Match of PUT and GET, takes uploads in parts, copies and lists, and lets itself be
asked for unfinished uploads. rclone's server answers Arrow's streamed uploads with 411.
"""

import contextlib
import http.client
import http.server
import logging
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

# What a fault does with a request: spoil it before it is passed on, after, or spoil its answer.
STATUS, CUT_REQUEST, LOSE_ANSWER, CUT_ANSWER, SLOW_ANSWER, HOLD = (
    "status",
    "cut request",
    "lose answer",
    "cut answer",
    "slow answer",
    "hold",
)
_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>spoilt by a test</Message></Error>'


@dataclass
class Asked:
    """A request as the proxy has seen it."""

    method: str
    path: str
    headers: dict[str, str]
    number: int

    @property
    def key(self) -> str:
        """The key of the object, without the bucket."""
        return self.path.partition("?")[0].lstrip("/").partition("/")[2]

    @property
    def is_conditional(self) -> bool:
        return self.method == "PUT" and bool({"if-match", "if-none-match"} & set(self.headers))

    @property
    def kind(self) -> str:
        """What a bill calls it."""
        query = self.path.partition("?")[2]
        if self.method == "GET" and "list-type" in query:
            return "LIST"
        if self.method == "PUT" and "x-amz-copy-source" in self.headers:
            return "COPY"
        if self.method == "POST" and "delete" in query:
            return "DELETE"
        return self.method


@dataclass
class Fault:
    kind: str
    status: int = 500
    code: str = "InternalError"


@dataclass
class Proxy:
    """`spoil` is asked about each request, and says what goes wrong with it, or None."""

    upstream: tuple[str, int]
    spoil: Callable[[Asked], Fault | None] = lambda _asked: None
    asked: list[Asked] = field(default_factory=list)
    address: str = ""
    released: threading.Event = field(default_factory=threading.Event)
    # moto looks and then writes: of two conditional requests at once both would win.
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def counts(self) -> dict[str, int]:
        kinds = [one.kind for one in self.asked]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: Proxy

    def log_message(self, *_):
        pass

    def handle(self):
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def _answer(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, len(self.proxy.asked))
        self.proxy.asked.append(asked)
        fault = self.proxy.spoil(asked)
        if fault and fault.kind == CUT_REQUEST:
            self.rfile.read(int(headers.get("content-length", 0)) // 2)
            self._cut()
            return
        body = self._body(headers)
        if fault and fault.kind == HOLD:
            self.proxy.released.wait(60)
        if fault and fault.kind == STATUS:
            self._send(fault.status, {"Content-Type": "application/xml"}, _ERROR.format(fault.code).encode())
            return
        with self.proxy.one_at_a_time if asked.is_conditional else contextlib.nullcontext():
            status, answered, content = self._passed_on(body)
        if fault and fault.kind == LOSE_ANSWER:
            self._cut()
        elif fault and fault.kind == CUT_ANSWER:
            self._send(status, answered, content, until=len(content) // 2)
            self._cut()
        elif fault and fault.kind == SLOW_ANSWER:
            self._send(status, answered, content, pieces=20)
        else:
            self._send(status, answered, content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer

    def _body(self, headers) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", ""):
            return self.rfile.read(int(headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _passed_on(self, body):
        upstream = http.client.HTTPConnection(*self.proxy.upstream, timeout=30)
        try:
            sent = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("transfer-encoding", "expect")
            }
            sent |= {"Content-Length": str(len(body))} if body or self.command in ("PUT", "POST") else {}
            upstream.request(self.command, self.path, body, sent)
            answer = upstream.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            upstream.close()

    def _send(self, status, headers, content, *, until=None, pieces=1):
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = (
            headers.get("Content-Length", headers.get("content-length")) if self.command == "HEAD" else len(content)
        )
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        if self.command == "HEAD":
            return
        content = content[:until]
        size = max(-(-len(content) // pieces), 1)
        for start in range(0, len(content), size):
            self.wfile.write(content[start : start + size])
            if pieces > 1:
                time.sleep(0.02)
        self.wfile.flush()

    def _cut(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(2)


@contextlib.contextmanager
def proxy_to(upstream: tuple[str, int]) -> Iterator[Proxy]:
    proxy = Proxy(upstream)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    proxy.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.released.set()
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def s3_server() -> Iterator[tuple[str, int]]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()
    finally:
        server.stop()


def environment_of(proxy: Proxy) -> dict[str, str]:
    """What a user sets."""
    return {
        "AWS_ACCESS_KEY_ID": "a-key",
        "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-may-see",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": proxy.address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def make_bucket(proxy: Proxy) -> str:
    name = f"lake-{uuid.uuid4().hex[:12]}"
    _ask(proxy, "PUT", f"/{name}")
    return name


def unfinished_uploads(proxy: Proxy, bucket: str) -> int:
    return len(re.findall(b"<Upload>", _ask(proxy, "GET", f"/{bucket}?uploads")))


def _ask(proxy: Proxy, method: str, path: str) -> bytes:
    connection = http.client.HTTPConnection(*proxy.upstream, timeout=30)
    try:
        connection.request(
            method, path, headers={"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"}
        )
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return content
    finally:
        connection.close()


def forget_stores() -> None:
    """Those that this process has opened were for another address."""
    from tasks.core.storage import leases, objects

    objects._store.cache_clear()
    leases._clocks.clear()


def set_environment(patch, proxy: Proxy) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "AZURE_"))]:
        patch.delenv(name)
    for name, value in environment_of(proxy).items():
        patch.setenv(name, value)
    forget_stores()
