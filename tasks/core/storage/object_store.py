"""Requests to an object store, bounded in time, its errors in our words. The one module that knows obstore."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import importlib
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tasks.core.errors import DefinitionError, LakeError
from tasks.core.settings import environment, prepare_object_store

T = TypeVar("T")

_STANDS = "what was published stands as it was"
# A request that fails in passing is tried again for a minute: after that it is no passing failure.
_CLIENT = {"connect_timeout": "5s", "read_timeout": "30s", "timeout": "120s"}
_RETRY: dict[str, Any] = {
    "max_retries": 7,
    "retry_timeout": dt.timedelta(seconds=60),
    "backoff": {"init_backoff": dt.timedelta(milliseconds=200), "max_backoff": dt.timedelta(seconds=5), "base": 2},
}
# What is only to be sent while a lease is held is never sent again by the client: we do that, and ask before each time.
# A removal has 4 seconds: with those for new credentials that is less than the margin of a lease. The store itself may
# take a minute to copy 5 GB; a copy that is late takes nothing away.
_SENT_ONCE = {"max_retries": 0}
_REMOVAL = {"connect_timeout": "4s", "read_timeout": "4s", "timeout": "4s"}
# As many as one request takes away: of Google's each is one, and ten are under way at once.
_REMOVED_AT_ONCE, _REMOVED_AT_ONCE_GS = 250, 10
# A part of a file on its way; three of them at once bound the memory, ten thousand of them the file to 80 GB.
PART_BYTES, _PARTS_AT_ONCE = 8 << 20, 3
_CUT_ANSWERS = 3
# What CopyObject takes in one request.
_LARGEST_COPIED_BYTES = 5 << 30
_ATTEMPT = "lamplighterattempt"  # Azure takes letters alone.
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_STATUS = re.compile(r"status code: (\d{3})( [A-Za-z ]{1,40})?")
_ALLOW_HTTP = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP")


@dataclass(frozen=True)
class Found:
    """An object as a listing tells of it."""

    key: str
    size: int
    e_tag: str
    modified_at: dt.datetime
    version: str | None = None

    @property
    def mark(self) -> str:
        return f"{self.e_tag} {self.version or ''} {self.modified_at.timestamp()}"


@functools.cache
def _obstore(module: str = "obstore") -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "obstore":
            raise
        raise DefinitionError(
            "the lake lies in an object store, which needs the package 'obstore', and it is not installed here",
            state="nothing was started",
            next_step="pip install 'lamplighter[object-store]'",
        ) from error


class Store:
    """The bucket, or container, of an address: its keys are whole ones. `quick` gives up after seconds, not a minute."""

    def __init__(self, container: str, *, quick: bool = False) -> None:
        self.container = container
        self._api = _obstore()
        self._errors = _obstore("obstore.exceptions")
        quickly = {"timeout": "10s", "read_timeout": "10s"} if quick else {}
        self._retry = _RETRY | ({"max_retries": 1, "retry_timeout": dt.timedelta(seconds=10)} if quick else {})
        self._store = self._open(_CLIENT | quickly, self._retry)
        self._counts_from_the_end = container.startswith(("s3", "gs"))

    @functools.cached_property
    def _copying(self) -> Any:
        return self._open(_CLIENT, self._retry | _SENT_ONCE)

    @functools.cached_property
    def _removing(self) -> Any:
        return self._open(_CLIENT | _REMOVAL, self._retry | _SENT_ONCE)

    def _open(self, client: dict[str, Any], retry: dict[str, Any]) -> Any:
        prepare_object_store()
        allow_http = any((environment(name) or "").lower() in ("1", "true", "yes") for name in _ALLOW_HTTP)
        client = client | {"allow_http": allow_http}
        try:
            return _obstore("obstore.store").from_url(self.container, client_options=client, retry_config=retry)
        except (self._errors.BaseError, ValueError) as error:
            raise DefinitionError(
                f"{self.container} cannot be used: {_said(error)}",
                state="nothing was started",
                next_step="set what the object store's own tools take from the environment: AWS_*, GOOGLE_* or AZURE_*",
            ) from error

    # -- looking --------------------------------------------------------------------------------------------------

    def head(self, key: str) -> Found | None:
        try:
            return _found(self._asked(lambda: self._api.head(self._store, key)))
        except FileNotFoundError as error:
            self._refuse_no_bucket(error, "look at", key)
            return None
        except self._errors.BaseError as error:
            raise self._error("look at", key, error) from error

    def below(self, prefix: str) -> list[Found]:
        """Every object below a prefix, which is a folder's key, in the order of keys."""
        with self._told("list", prefix):
            found = self._asked(lambda: self._api.list(self._store, prefix or None, chunk_size=1000).collect())
            return sorted(map(_found, found), key=lambda one: one.key)

    def any(self, prefix: str) -> bool:
        """Whether an object lies below a prefix, by one request."""
        with self._told("look at", prefix):
            return self._asked(
                lambda: any(len(page) for page in self._api.list(self._store, prefix or None, chunk_size=1))
            )

    def level(self, prefix: str) -> tuple[list[str], list[Found]]:
        """The keys of the folders right below a prefix, and the objects there."""
        with self._told("list", prefix):
            found = self._asked(lambda: self._api.list_with_delimiter(self._store, prefix or None))
        # Some tools put an empty object in the place of a folder.
        objects = [_found(one) for one in found["objects"] if one["path"] != prefix]
        return sorted(found["common_prefixes"]), sorted(objects, key=lambda one: one.key)

    # -- reading --------------------------------------------------------------------------------------------------

    def get(self, key: str) -> tuple[bytes, Found]:
        with self._told("read", key):
            result = self._api.get(self._store, key)
            return bytes(result.bytes()), _found(result.meta)

    def get_range(self, key: str, start: int, end: int, e_tag: str | None = None) -> bytes:
        """The bytes of a range; LakeError where it is not the object of this e_tag any more."""
        options = {"range": (start, end)} | ({"if_match": e_tag} if e_tag else {})
        with self._told("read", key):
            return bytes(self._api.get(self._store, key, options=options).bytes())

    def tail(self, key: str, size: int) -> tuple[Found, bytes]:
        """What an object is, and its last bytes: by one request where the store can count from the end."""
        if self._counts_from_the_end:
            try:
                result = self._api.get(self._store, key, options={"range": {"suffix": size}})
                return _found(result.meta), bytes(result.bytes())
            except FileNotFoundError as error:
                raise self._error("read", key, error) from error
            except self._errors.BaseError:
                # An empty object has no last bytes. What else is wrong is met again below, and told.
                pass
        found = self.head(key)
        if found is None:
            raise self._error("read", key, FileNotFoundError())
        start = max(found.size - size, 0)
        return found, self.get_range(key, start, found.size, found.e_tag) if found.size else b""

    def stream(self, key: str) -> Iterator[bytes]:
        """The whole object, part by part, each asked for by itself: a connection that is cut costs one part."""
        found = self.head(key)
        if found is None:
            raise self._error("read", key, FileNotFoundError())
        for start in range(0, found.size, PART_BYTES):
            yield self.get_range(key, start, min(start + PART_BYTES, found.size), found.e_tag)

    # -- changing -------------------------------------------------------------------------------------------------

    def put(self, key: str, data: bytes) -> None:
        with self._told("write", key):
            self._asked(lambda: self._api.put(self._store, key, data, use_multipart=False))

    def create(self, key: str, data: bytes) -> Found | None:
        """Puts an object where none is; None if one was.

        An answer that is lost makes the request be sent again, and refused by our own object: the name of this very
        attempt lies with it, and tells.
        """
        attempt = uuid.uuid4().hex
        try:
            return self._put_if(key, data, "create", attempt)
        except self._errors.AlreadyExistsError:
            return self._ours(key, attempt)
        except (self._errors.BaseError, FileNotFoundError) as error:
            with contextlib.suppress(LakeError):
                if self.head(key) is not None:
                    return self._ours(key, attempt)
            raise self._error("write", key, error) from error

    def replace(self, key: str, data: bytes, known: Found) -> Found | None:
        """Puts an object in the place of one that is still as it is known; None if it is another, or gone."""
        attempt = uuid.uuid4().hex
        mode = {"e_tag": known.e_tag} | ({"version": known.version} if known.version else {})
        try:
            return self._put_if(key, data, mode, attempt)
        except (self._errors.PreconditionError, FileNotFoundError) as error:
            self._refuse_no_bucket(error, "write", key)
            return self._ours(key, attempt)
        except self._errors.BaseError as error:
            with contextlib.suppress(LakeError):
                if ours := self._ours(key, attempt):
                    return ours
            raise self._error("write", key, error) from error

    def copy(self, source: Found, target: str, *, refuse: Callable[[], None] = lambda: None) -> None:
        """One request makes it visible: a CopyObject, or, of what is larger than that takes, the end of an upload.

        `refuse` is called before each attempt, and raises where this run may not change anything any more.
        """
        if source.size > _LARGEST_COPIED_BYTES:
            self._copy_large(source, target, refuse)
        else:
            with self._told("write", target):
                self._sent(lambda: self._api.copy(self._copying, source.key, target), refuse)

    def delete(self, keys: Sequence[str], *, refuse: Callable[[], None] = lambda: None) -> None:
        """What is not there is fine. `refuse` as of a copy."""
        most = _REMOVED_AT_ONCE_GS if self.container.startswith("gs") else _REMOVED_AT_ONCE
        for start in range(0, len(keys), most):
            self._delete(list(keys[start : start + most]), refuse)

    @contextlib.contextmanager
    def upload(self, key: str) -> Iterator[Any]:
        """A file to write to, which becomes the object when the block ends well. Else the upload is aborted."""
        with self._told("write", key):
            writer = self._api.open_writer(
                self._store, key, buffer_size=PART_BYTES, max_concurrency=_PARTS_AT_ONCE
            ).__enter__()
        try:
            yield writer
        except BaseException as error:
            # What the store says to that is less than what has gone wrong. What it keeps, its lifecycle rule takes.
            with contextlib.suppress(Exception):
                writer.__exit__(type(error), error, error.__traceback__)
            raise
        with self._told("write", key):
            writer.__exit__(None, None, None)

    # -- below ----------------------------------------------------------------------------------------------------

    def _put_if(self, key: str, data: bytes, mode: Any, attempt: str) -> Found:
        put = self._api.put(self._store, key, data, mode=mode, attributes={_ATTEMPT: attempt})
        return Found(key, len(data), put["e_tag"] or "", dt.datetime.now(dt.UTC), put.get("version"))

    def _ours(self, key: str, attempt: str) -> Found | None:
        try:
            result = self._api.get(self._store, key)
        except FileNotFoundError:
            return None
        except self._errors.BaseError as error:
            raise self._error("look at", key, error) from error
        return _found(result.meta) if result.attributes.get(_ATTEMPT) == attempt else None

    def _delete(self, keys: list[str], refuse: Callable[[], None]) -> None:
        try:
            self._sent(lambda: self._api.delete(self._removing, keys), refuse)
        except FileNotFoundError as error:
            self._refuse_no_bucket(error, "remove", keys[0])
            # Some stores say so of one of them, and the others may still be there.
            for key in keys if len(keys) > 1 else []:
                self._delete([key], refuse)
        except self._errors.BaseError as error:
            raise self._error("remove", keys[0], error) from error

    def _copy_large(self, source: Found, target: str, refuse: Callable[[], None]) -> None:
        with self.upload(target) as writer:
            for start in range(0, source.size, PART_BYTES):
                end = min(start + PART_BYTES, source.size)
                writer.write(self.get_range(source.key, start, end, source.e_tag))
                refuse()

    def _asked(self, call: Callable[[], T]) -> T:
        """What a request answers that may be sent twice. Of answers that are cut the library repeats those of GET alone."""
        for _ in range(_CUT_ANSWERS):
            try:
                return call()
            except self._errors.BaseError as error:
                if "kind: Interrupted" not in str(error):
                    raise
        return call()

    def _sent(self, call: Callable[[], T], refuse: Callable[[], None]) -> T:
        """What a change answers that the client sends once: sent again for as long as the client would, if it still may."""
        backoff, end = self._retry["backoff"], time.monotonic() + self._retry["retry_timeout"].total_seconds()
        pause, longest = backoff["init_backoff"].total_seconds(), backoff["max_backoff"].total_seconds()
        for _ in range(self._retry["max_retries"]):
            refuse()
            try:
                return call()
            except self._errors.BaseError as error:
                if not _is_passing(error) or time.monotonic() > end:
                    raise
            time.sleep(pause)
            pause = min(backoff["base"] * pause, longest)
        refuse()
        return call()

    @contextlib.contextmanager
    def _told(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except (self._errors.BaseError, FileNotFoundError, OSError) as error:
            raise self._error(verb, key, error) from error

    def told(self, verb: str, key: str) -> contextlib.AbstractContextManager[None]:
        """What goes wrong in the block is the lake's, and told as such."""
        return self._told(verb, key)

    def _refuse_no_bucket(self, error: Exception, verb: str, key: str) -> None:
        if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
            raise self._error(verb, key, error) from error

    def _error(self, verb: str, key: str, error: Exception) -> LakeError:
        said = str(error)
        where = f"could not {verb} {self.container}/{key}"
        if "NoSuchBucket" in said or "ContainerNotFound" in said:
            return LakeError(
                f"{where}: there is no bucket {self.container}",
                state="nothing was changed",
                next_step="make the bucket, or set LAMPLIGHTER_LAKE to one that is there",
            )
        if isinstance(error, FileNotFoundError):
            return LakeError(
                f"{where}: no such file there", state=_STANDS, next_step="see what lies there, and run it again"
            )
        status = _STATUS.search(said)
        if status and status[1] in ("401", "403"):
            return LakeError(
                f"{where}: the object store refuses these credentials ({_said(error)})",
                state=_STANDS,
                next_step="let them list, read, write and delete there, and abort multipart uploads; they come from the "
                "environment (AWS_*, GOOGLE_*, AZURE_*)",
            )
        if isinstance(error, self._errors.PreconditionError):
            return LakeError(f"{where}: it was replaced meanwhile", state=_STANDS, next_step="run it again")
        return LakeError(
            f"{where}: {_said(error)}",
            state=_STANDS,
            next_step="see that the object store answers at its address (AWS_ENDPOINT_URL, with AWS_ALLOW_HTTP=true where it "
            "is http://), and run it again",
        )


def _found(meta: Any) -> Found:
    return Found(meta["path"], meta["size"], meta.get("e_tag") or "", meta["last_modified"], meta.get("version"))


def _is_passing(error: Exception) -> bool:
    """Whether it may go well another time: the store was busy, or nothing was heard of it."""
    status = _STATUS.search(str(error))
    return status is None or status[1] in ("408", "429") or status[1].startswith("5")


def _said(error: Exception) -> str:
    """What the store has answered, or why nobody has; without addresses and headers, which may hold secrets."""
    text = str(error)
    code, status = _CODE.search(text), _STATUS.search(text)
    if code or status:
        answer = f"{status[1]}{status[2] or ''}".strip() if status else ""
        return f"it answered {' '.join(filter(None, [answer, code[1] if code else '']))}"
    for word, said in _CAUSES.items():
        if word in text:
            return said
    return re.sub(r"\S+://\S+", "...", text.partition("\n")[0])[:300]


_CAUSES = {
    "kind: Connect": "nobody answers at the object store's address",
    "BadScheme": "its address is http://, and only https:// is allowed",
    "kind: Timeout": "it did not answer in time",
    "kind: Interrupted": "the connection was cut",
    "169.254.169.254": "there are no credentials in the environment",
    "error decoding response body": "the connection was cut",
    "error sending request": "the connection was cut",
}
