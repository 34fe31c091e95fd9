"""The server of the reports, on a free port for as long as a test asks it."""

import contextlib
import http.client
import threading
import time

import uvicorn

from tasks.core.serving import Pages, listening_at
from tasks.core.storage import Folder

NAMES = ("localhost", "127.0.0.1", "[::1]")


@contextlib.contextmanager
def served(folder, names=NAMES):
    with listening_at("127.0.0.1", 0) as listener:
        config = uvicorn.Config(Pages(Folder(folder), names), log_config=None, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(timeout=10)


def asked(port, path, method="GET", **headers):
    """The answer to a request whose path is sent as it is written here."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    # What a client does not clean up: nothing may be taken for granted of a path.
    connection._validate_path = lambda _: None
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.body = answer.read().decode()
    connection.close()
    return answer
