"""A Prefect server for the bench, as `lamplighter up` starts one: `python -m tests.bench.scoring.server FOLDER [--port 4298]`."""

import argparse
import contextlib
import os
import pathlib
import socket
import time

PORT = 4298


@contextlib.contextmanager
def running(folder: pathlib.Path, port: int = 0):
    """Yields the environment of commands that use it, once it answers; its database lies in the folder."""
    os.environ |= {"LAMPLIGHTER_PROJECT": str(folder), "LAMPLIGHTER_LAKE": str(folder / "lake")}
    from tasks.core.settings import prepare_prefect

    prepare_prefect(quiet=True)
    from tasks.orchestration import server
    from tasks.orchestration.processes import Supervisor

    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "LAMPLIGHTER_"))}
    here = server.Place("127.0.0.1", port or a_free_port(), kept | {"PREFECT_HOME": str(folder / ".prefect")})
    environment = server.environment_of(here)
    supervisor = Supervisor(print)
    try:
        server.start_server(supervisor, here, environment)
        yield environment
    finally:
        supervisor.stop()


def a_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.scoring.server")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--port", type=int, default=PORT)
    given = parser.parse_args()
    with running(given.folder.resolve(), given.port) as environment, contextlib.suppress(KeyboardInterrupt):
        print(f"export PREFECT_API_URL={environment['PREFECT_API_URL']}   Ctrl-C ends it", flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
