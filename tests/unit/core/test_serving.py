"""The server of the reports: pages and nothing else, whatever a client sends. It is asked over real sockets."""

import contextlib
import os
import socket

import pytest

from tasks.core.errors import DefinitionError
from tasks.core.serving import listening_at, serve
from tasks.core.storage import Folder
from tests.pages_server import NAMES, asked, served


@pytest.fixture
def reports(tmp_path):
    """A lake with reports, and beside them what no client may see."""
    lake = tmp_path / "lake"
    for key, text in {
        "reports/index.html": "<h1>home</h1>",
        "reports/churn/index.html": "<h1>churn</h1>",
        "reports/churn/as_of=2026-11-20.html": "<h1>day é</h1>",
        "reports/churn/.tmp-1.html": "half written",
        "reports/churn/notes.txt": "secret",
        "reports/churn/.hidden/index.html": "secret",
        "reports/churn/empty/nothing.html": "",
        "runs/churn/secret.html": "secret",
        "secret.html": "secret",
        "reports-of-others/secret.html": "secret",
    }.items():
        (lake / key).parent.mkdir(parents=True, exist_ok=True)
        (lake / key).write_text(text, encoding="utf-8")
    (lake / "reports/out.html").symlink_to(lake / "secret.html")
    (lake / "reports/outside").symlink_to(lake / "runs")
    (lake / "reports/loop.html").symlink_to("loop.html")
    (lake / "reports/within.html").symlink_to("churn/index.html")
    (lake / "reports/folder.html").mkdir()
    os.mkfifo(lake / "reports/pipe.html")
    return lake / "reports"


@pytest.fixture
def ask(reports):
    with served(reports) as port:
        yield lambda *line, **headers: asked(port, *line, **headers)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", "<h1>home</h1>"),
        ("/index.html", "<h1>home</h1>"),
        ("/churn/", "<h1>churn</h1>"),
        ("/churn/as_of=2026-11-20.html", "<h1>day é</h1>"),
        ("/churn/as_of%3D2026-11-20.html?x=1", "<h1>day é</h1>"),
        ("/within.html", "<h1>churn</h1>"),
    ],
)
def test_pages_are_shown(ask, path, body):
    answer = ask(path)

    assert (answer.status, answer.body) == (200, body)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_folder_leads_to_its_index(ask):
    answer = ask("/churn")

    assert (answer.status, answer.headers["Location"]) == (307, "/churn/")


HOSTILE_PATHS = [
    "/../secret.html",
    "/%2e%2e/secret.html",
    "/..%2fsecret.html",
    "/churn/../../secret.html",
    "/churn/%2e%2e%2f%2e%2e%2fsecret.html",
    "/..%5csecret.html",
    "/..\\secret.html",
    "//secret.html",
    "//etc/passwd",
    "/%2fetc%2fpasswd",
    "/../reports-of-others/secret.html",
    "/./index.html",
    "/churn//index.html",
    "//evil.example/churn",
    "/%00index.html",
    "/index.html%00.txt",
    "/churn/%ff%fe.html",
    "/out.html",
    "/outside/churn/secret.html",
    "/loop.html",
    "/folder.html",
    "/folder.html/",
    "/pipe.html",
    "/churn/.tmp-1.html",
    "/churn/.hidden/",
    "/churn/.hidden/index.html",
    "/churn/notes.txt",
    "/churn/empty/",
    "/churn/empty",
    "/nothing.html",
    "/health/",
    "/" + "a" * 5000 + ".html",
    "/" + "a/" * 2000 + "index.html",
    "/" + "../" * 500 + "etc/passwd",
    "http://127.0.0.1/../secret.html",
]


@pytest.mark.parametrize("path", HOSTILE_PATHS, ids=lambda path: path[:40])
def test_nothing_else_of_the_lake_is_shown(ask, path):
    answer = ask(path)

    assert answer.status == 404
    assert "secret" not in answer.body
    assert "Content-Security-Policy" in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_reading_is_all_that_can_be_done(ask, reports, method):
    answer = ask("/index.html", method)

    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert (reports / "index.html").read_text() == "<h1>home</h1>"


def test_head_is_the_head_of_get(ask):
    head, got = ask("/", "HEAD"), ask("/")

    assert (head.status, head.body) == (200, "")
    assert head.headers["Content-Length"] == got.headers["Content-Length"] == "13"


def test_every_answer_is_closed_to_scripts_frames_and_other_sites(ask):
    for path, method in (("/", "GET"), ("/nothing.html", "GET"), ("/", "POST"), ("/health", "GET"), ("/churn", "GET")):
        headers = ask(path, method).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "script-src" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Server" not in headers or "uvicorn" in headers["Server"]


def test_a_page_that_is_known_already_is_not_sent_again(ask, reports):
    first = ask("/")
    again = ask("/", If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, "")

    (reports / "index.html").write_text("<h1>changed</h1>")
    assert ask("/", If_None_Match=first.headers["ETag"]).body == "<h1>changed</h1>"


def test_health(ask):
    assert (ask("/health").status, ask("/health").body) == (200, "ok\n")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8090", "", "127.0.0.1.evil.example", "localhost@evil"])
def test_another_name_for_this_server_gets_nothing(ask, host):
    answer = ask("/", Host=host)

    assert (answer.status, "home" in answer.body) == (421, False)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8090", "127.0.0.1:1", "[::1]:8090"])
def test_its_own_names_are_right_with_any_port(ask, host):
    assert ask("/", Host=host).status == 200


def test_a_star_is_any_name(reports):
    with served(reports, ["*"]) as port:
        assert asked(port, "/", Host="pages.example").status == 200


def test_reports_may_come_later(tmp_path):
    with served(tmp_path / "reports") as port:
        assert asked(port, "/").status == 404
        assert "lamplighter score" in asked(port, "/").body
        (tmp_path / "reports").mkdir()
        (tmp_path / "reports/index.html").write_text("here")
        assert asked(port, "/").body == "here"


def test_only_the_last_script_of_the_expectations_page_may_run(reports):
    (reports / "churn/as_of=1.expectations.html").write_text(
        "<script>alert(1)</script>\n<b>x</b><script>ours()</script>\n  </body></html>"
    )
    with served(reports) as port:
        policy = asked(port, "/churn/as_of=1.expectations.html").headers["Content-Security-Policy"]

    # printf "ours()" | openssl dgst -sha256 -binary | base64
    assert "script-src 'unsafe-hashes' 'sha256-6Mlk+XjE57h/a6BK8UFDhIqhWicH5NYtbW9Bd0Z0HiI='" in policy
    assert "'unsafe-inline' " not in policy.split("script-src")[1]


def test_a_request_that_is_never_finished_holds_nobody_up(reports):
    with served(reports) as port, contextlib.ExitStack() as slow:
        for _ in range(50):
            connection = slow.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        assert asked(port, "/").status == 200


def test_an_address_that_is_taken_is_a_clear_error(reports):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(DefinitionError, match="already in use"):
        serve(Folder(reports), host="127.0.0.1", port=taken.getsockname()[1], names=NAMES)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "x" * 300])
def test_an_address_of_no_interface_here_is_a_clear_error(host):
    with pytest.raises(DefinitionError, match="cannot be served at"):
        listening_at(host, 0)
