"""A secret that is wrong, or that a driver shouts, is written nowhere: no log, page, manifest, artifact or traceback has it."""

import json
import logging
import os
import pathlib
import socket
import struct
import sys
import tempfile
import threading
import types

import pytest
from prefect.blocks.system import Secret
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL

from tasks.core import logs
from tests.canary import FIRST, QUOTED, SECOND, SECRET, files_that_tell, is_in
from tests.flows.conftest import DAY, QUERY

pytest.importorskip("adbc_driver_postgresql")

BEFORE_IT, AFTER_IT = f"postgresql://bob:{QUOTED}", f"postgresql://bob:{SECRET}"


def _talk(listener):
    """A server that asks for the password, and repeats it in its refusal."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            (length,) = struct.unpack("!i", connection.recv(4))
            connection.recv(length - 4)
            connection.sendall(b"R" + struct.pack("!ii", 8, 3))
            said = connection.recv(4096)[5:].rstrip(b"\0")
            told = b'SFATAL\0VFATAL\0C28P01\0Mpassword "' + said + b'" of bob is wrong\0Htry not ' + said + b"\0\0"
            connection.sendall(b"E" + struct.pack("!i", len(told) + 4) + told)


@pytest.fixture(scope="module")
def indiscreet():
    """The port of that server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        talking = threading.Thread(target=_talk, args=(listener,))
        talking.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    talking.join()


def _raising(kind):
    def connect(address):
        raise kind(f"no route to {address}", {"address": address})

    return connect


class _Shouting:
    """A connection whose every statement fails with the password in what it says."""

    def __init__(self, address):
        self.address = address

    def cursor(self):
        return self

    def execute(self, statement, _parameters=None):
        raise RuntimeError(f"login by {SECRET} expired; {self.address}; while {statement}")

    def close(self): ...

    def rollback(self): ...


@pytest.fixture
def drivers(monkeypatch):
    """Drivers of a database that nobody else has: two fail on connecting, one later, with no error that a driver should raise."""

    for name, connect in {"loud": _raising(RuntimeError), "typed": _raising(TypeError), "late": _Shouting}.items():
        module = types.ModuleType(f"adbc_driver_{name}.dbapi")
        module.connect, module.Error = connect, type("Error", (Exception,), {})
        package = types.ModuleType(f"adbc_driver_{name}")
        package.dbapi = module
        monkeypatch.setitem(sys.modules, package.__name__, package)
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def everything(world, tmp_path, monkeypatch, capsys, caplog):
    """What was written anywhere since the test began, as (place, whether the secret is in it)."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("LAMPLIGHTER_LOG_LEVEL", "debug")
    # A command that an earlier test typed has decided who sees the lines.
    before, logs.log.handlers[:] = list(logs.log.handlers), []
    monkeypatch.setattr(logs.log, "propagate", True)
    caplog.set_level(logging.INFO)
    printed = []

    def look(*more):
        said = capsys.readouterr()
        printed.extend((said.out, said.err, caplog.text, *more))
        assert any("readings" in one for one in printed)
        return [one for one in printed if is_in(one)] + files_that_tell(tmp_path, _prefect_s_folder())

    yield look
    logs.log.handlers[:] = before


def _prefect_s_folder():
    """Where the server keeps its database: states, logs, artifacts and events."""
    APILogHandler().flush()
    return pathlib.Path(PREFECT_SERVER_DATABASE_CONNECTION_URL.value().partition(":///")[2]).parent


ADDRESSES = {
    "nobody_listens": ("postgresql", f"{BEFORE_IT}@127.0.0.1:1/shop"),
    "not_encoded": ("postgresql", f"{AFTER_IT}@127.0.0.1:1/shop"),
    "no_such_host": ("postgresql", f"{BEFORE_IT}@no-such-host.invalid/shop"),
    "by_keywords": ("postgresql", f"host=127.0.0.1 port=1 user=bob password='{FIRST} {SECOND}'"),
    "as_a_parameter": ("postgresql", f"postgresql://127.0.0.1:1/shop?user=bob&password={QUOTED}"),
    "another_option": ("postgresql", f"postgresql://127.0.0.1:1/shop?sslpassword={QUOTED}&no_such={FIRST}"),
    "no_address": ("postgresql", f"{FIRST} {SECOND}"),
    "not_text": ("postgresql", f"postgresql://bob:{QUOTED}\udcff@127.0.0.1:1/shop"),
    "refused": ("postgresql", f"{BEFORE_IT}@127.0.0.1:PORT/shop?sslmode=disable"),
    "for_another_driver": ("sqlite", f"{BEFORE_IT}@127.0.0.1:1/shop"),
    "keywords_for_another_driver": ("sqlite", f"host=127.0.0.1 password={FIRST}"),
    "no_driver": ("snowflake", f"bob:{SECRET}@account/shop"),
    "a_driver_that_shouts": ("loud", f"bob:{SECRET}@account/shop"),
    "a_driver_with_a_fault": ("typed", f"{BEFORE_IT}@account/shop"),
    "a_query_that_shouts": ("late", f"bob:{SECRET}@account/shop"),
}


def _source(world, driver, **address):
    world.change_job(source={"type": "sql", "driver": driver, "query": QUERY, "retries": 0, **address})


# The others take the time of a run each, and differ in how a driver reads them.
SOON = {"refused", "for_another_driver", "a_driver_that_shouts"}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case in SOON else pytest.mark.slow) for case in ADDRESSES]
)
def test_an_address_from_the_environment_is_written_nowhere(case, world, everything, drivers, indiscreet, monkeypatch):
    driver, address = ADDRESSES[case]
    monkeypatch.setenv("WAREHOUSE", address.replace("PORT", str(indiscreet)))
    _source(world, driver, uri_env="WAREHOUSE")

    state = world.score()

    assert state.name == "Failed"
    assert "WAREHOUSE" in state.message or "driver" in state.message, state.message
    assert everything(str(state), repr(state.data)) == []


def test_an_address_from_dotenv_is_written_nowhere_by_any_command(world, everything, lamplighter, monkeypatch):
    (world.folder / ".env").write_text(f"WAREHOUSE='{BEFORE_IT}@127.0.0.1:1/shop'\nLAMPLIGHTER_LOG_LEVEL=info\n")
    _source(world, "postgresql", uri_env="WAREHOUSE")
    commands = [
        ("score", "readings", "--as-of", DAY),
        ("score", "readings", "--as-of", DAY, "--dry-run"),
        ("check",),
        ("suggest", "readings", "--as-of", DAY),
        ("show", "readings", "--as-of", DAY),
        ("show", "readings", "--as-of", DAY, "--json"),
        ("runs", "readings"),
        ("status", "--json"),
        ("settings",),
        ("settings", "--json"),
        ("deployments",),
        ("audit", "readings"),
        ("monitor", "readings", "--as-of", DAY),
        ("deliver", "readings"),
    ]

    said = [lamplighter(*command) for command in commands]

    assert said[0][0] == 1
    assert "environment variable WAREHOUSE" in said[0][2]
    assert everything(*(text for _, out, err in said for text in (out, err))) == []


def test_the_traceback_of_debug_has_none_of_it(world, everything, monkeypatch, lamplighter):
    monkeypatch.setenv("WAREHOUSE", f"{BEFORE_IT}@127.0.0.1:1/shop")
    _source(world, "postgresql", uri_env="WAREHOUSE")

    with pytest.raises(Exception, match="could not connect to the postgresql database") as failed:
        lamplighter("--debug", "score", "readings", "--as-of", DAY)

    # What a tool that shows the locals of each frame would print, of those frames that are ours.
    assert everything(*map(str, failed.traceback), str(failed.getrepr(style="short", chain=True))) == []


def test_an_address_in_a_block_is_written_nowhere(world, everything):
    Secret(value=f"{BEFORE_IT}@127.0.0.1:1/shop").save("warehouse", overwrite=True)
    _source(world, "postgresql", uri_block="warehouse")

    state = world.score()

    assert (state.name, "the block 'warehouse'" in state.message) == ("Failed", True), state.message
    assert everything(str(state)) == []


def test_a_delivery_that_fails_tells_nothing(world, everything, monkeypatch, indiscreet, lamplighter):
    monkeypatch.setenv("TARGET", f"{BEFORE_IT}@127.0.0.1:{indiscreet}/shop?sslmode=disable")
    world.change_job(output__sql={"table": "analytics.scores", "uri_env": "TARGET", "retries": 0})

    state = world.score()

    assert state.name == "NotDelivered", state.message
    assert "environment variable TARGET" in state.message
    told = lamplighter("deliver", "readings")
    assert everything(str(state), *told[1:]) == []
    assert list((world.folder / "lake/deliveries").rglob("*.json"))


def test_labels_that_cannot_be_had_tell_nothing(world, everything, monkeypatch, lamplighter):
    assert world.score().name == "Published"
    monkeypatch.setenv("WAREHOUSE", f"{BEFORE_IT}@127.0.0.1:1/shop")
    _source(world, "postgresql", uri_env="WAREHOUSE")
    world.change_job(labels={"query": QUERY, "target": "hot", "type": "bool", "delay": "1d"})

    told = lamplighter("monitor", "readings", "--as-of", "2024-06-01")

    assert told[0] == 1
    assert everything(*told[1:]) == []


def test_the_whole_environment_is_told_by_nobody(world, everything, monkeypatch, lamplighter):
    """Variables that a job does not name: of other programs, and of Prefect."""
    for name in ("DATABASE_PASSWORD", "AWS_SECRET_ACCESS_KEY", "LAMPLIGHTER_DATABASE_PASSWORD", "PREFECT_API_KEY"):
        monkeypatch.setenv(name, SECRET)

    assert world.score().name == "Published"

    told = [lamplighter(*one) for one in (("settings",), ("check",), ("show", "readings", "--as-of", DAY))]
    assert everything(*(text for _, out, err in told for text in (out, err))) == []


@pytest.mark.parametrize(
    "form", [SECRET, QUOTED, json.dumps(SECRET), repr(SECRET), SECRET.encode().hex(), os.fsencode(SECRET)]
)
def test_the_check_finds_it(tmp_path, form):
    assert is_in(form)
    (tmp_path / "a.log").write_bytes(b"x" + (form if isinstance(form, bytes) else form.encode()) + b"y")
    assert files_that_tell(tmp_path) == [str(tmp_path / "a.log")]
