"""What can go wrong with a source: told in our words, without a secret, and tried again where it may pass by itself."""

from __future__ import annotations

import itertools
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote

from tasks.core.errors import LamplighterError, SourceError

T = TypeVar("T")

_NOTHING_CHANGED = "nothing was published"
_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS = 0.5, 60.0
_SHORTEST_MASKED = 4

_sleep: Callable[[float], None] = time.sleep


class SourceUnavailable(SourceError):
    """A failure that may pass by itself: the read may be tried again, from its beginning."""

    transient = True


def problem(failed: str, *, transient: bool = False, next_step: str = "") -> SourceError:
    kind = SourceUnavailable if transient else SourceError
    return kind(failed, state=_NOTHING_CHANGED, next_step=next_step)


def guarded(
    call: Callable[[], T], kinds: tuple[type[Exception], ...], explain: Callable[[Exception], SourceError]
) -> T:
    """What the call returns. An error of these kinds is told anew.

    It is raised when the driver's own is out of hand: that one's text, and the frames below it, may hold the address.
    """
    try:
        return call()
    except LamplighterError:
        raise
    except kinds as error:
        told = explain(error)
    raise told


def retry(action: Callable[[], T], times: int) -> T:
    """What the action returns, tried again up to so many times while it raises SourceUnavailable; then SourceError."""
    for attempt in itertools.count(1):
        try:
            return action()
        except SourceUnavailable as error:
            last = error
        if attempt > times:
            break
        _sleep(_delay_seconds(attempt))
    tried = f" ({attempt} attempts)" if times else ""
    raise SourceError(f"{last.failed.rstrip('.')}{tried}", state=last.state, next_step=last.next_step)


def _delay_seconds(attempt: int) -> float:
    """Doubled each time, and spread by half: runs that fail together are not to come back together."""
    whole: float = min(_FIRST_DELAY_SECONDS * 2 ** (attempt - 1), _LONGEST_DELAY_SECONDS)
    return whole * random.SystemRandom().uniform(0.5, 1.5)


def mask(message: str, secrets: list[str]) -> str:
    """The message with *** for whatever of four characters and more it shares with a secret, and for short secrets whole.

    A driver repeats parts of an address that it could not read, cut where it thinks fit: no list of parts would do.
    """
    hidden = [False] * len(message)
    for secret in filter(None, secrets):
        width = min(_SHORTEST_MASKED, len(secret))
        for start in range(len(message) - width + 1):
            if message[start : start + width] in secret:
                hidden[start : start + width] = [True] * width
    runs = itertools.groupby(range(len(message)), key=lambda place: hidden[place])
    return "".join("***" if masked else "".join(message[place] for place in places) for masked, places in runs)


def mask_quoted(message: str, secrets: list[str]) -> str:
    """As mask, and also whatever stands in quotes and in a secret, however short."""
    in_quotes = re.compile(r"""(["'])(.*?)\1""")
    within = " ".join(secrets)
    message = in_quotes.sub(lambda found: '"***"' if found[2] and found[2] in within else found[0], message)
    return mask(message, secrets)


def whole_address(address: str) -> list[str]:
    return list(dict.fromkeys([address, unquote(address)]))
