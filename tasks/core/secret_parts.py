"""What in an address, or in a file, is a secret: recognised by where it stands and by the name before it, never for certain."""

from __future__ import annotations

import re
from urllib.parse import unquote

# Not passfile and sslkey: they name files.
_NAMED = (
    r"(?:pass(?!file)|pwd|secret|token|credential|signature|(?:access|account|api|private|sas|shared|storage)_?key)"
)
# These mean something else within a longer name (authMechanism), or as a folder (auth=1/).
_WHOLE = r"(?:^|(?<=[?&;,{\s\"']))(?:auth|authorization|bearer|jwt|sas|sig)"
_IS = r"(?:\s*=\s*|[\"']\s*:\s*|:\s+)"
_VALUE = r"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^&;\s]+)"
_PARAMETER = re.compile(rf"(?:{_NAMED}\w*|{_WHOLE}){_IS}", re.IGNORECASE)
# Masked is more than is refused: of any key.
_SECRET_PARAMETER = re.compile(rf"(?:(?:{_NAMED}|pass|key)\w*|{_WHOLE}){_IS}{_VALUE}", re.IGNORECASE)
# user:password@account/database too, as some drivers have it.
_USER_INFO = re.compile(r"(?:://|^(?!.*://))[^/?#=]*?:(.*)@")
# A password may hold what ends a host.
_ANY_USER = re.compile(r"(?<=://)(?:[^/?#\s:]*:\S*@|[^/?#\s]*@)")
# Whoever is a user without a password there is a token.
_TOKEN = re.compile(r"https?://([^/?#@\s:]+)@", re.IGNORECASE)

_LITERAL = r"(?:passw(?:or)?d|passphrase|pwd|secret|token|(?:access|account|api|shared)_?key)"
_IN_QUOTES = re.compile(rf"{_LITERAL}[\"']?\s*[=:]\s*[\"'](?![:{{$<%*])([^\"'\s]{{6,}})[\"']", re.IGNORECASE)
# Of a call's arguments it is told by the comma between them.
_AMONG_OTHERS = re.compile(
    rf"(?:[?&;]|\w=[^\s,()=]+\s+)(?:\w*{_LITERAL}|sig|auth|jwt)=(?![:{{$<%*])[^\s&;\"',(){{}}]+", re.IGNORECASE
)
_TOKEN_IN_TEXT = re.compile(r"https?://[^/?#@\s:\"'{}<>$]+@", re.IGNORECASE)
_NAME_OF_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")


def secrets_in(address: str) -> list[str]:
    """The passwords, tokens and keys in an address, as written and as a driver reads them."""
    found = _found(address)
    return list(dict.fromkeys([*found, *map(unquote, found), *_found(unquote(address))]))


def holds_secret(address: str) -> bool:
    """Whether an address names a user with a password, a token in a user's place, or a parameter that is a secret."""
    user_info = (address.partition("://")[2] or address).rpartition("@")[0]
    if ":" in user_info or _TOKEN.search(address):
        return True
    return any(_PARAMETER.search(one) for one in (address, unquote(address)))


def masked(address: str) -> str:
    """An address as it may be shown: *** for its user with the password, and for each parameter that is a secret."""
    # A name may be written so that only a driver reads it: p%61ssword.
    plain = unquote(address)
    shown = _ANY_USER.sub("***@", plain if len(_found(plain)) > len(_found(address)) else address)
    return _SECRET_PARAMETER.sub(lambda found: f"{found[0][: found.start(1) - found.start()]}***", shown)


def stands_in_text(text: str) -> bool:
    """Whether a file gives a secret away: a literal under a secret's name, or a parameter or user of an address.

    A word of letters alone, the name of a variable and a placeholder are none: they stand in any program.
    """
    if _AMONG_OTHERS.search(text) or _TOKEN_IN_TEXT.search(text):
        return True
    return any(is_telling(found) for found in _IN_QUOTES.findall(text))


def is_telling(value: str) -> bool:
    """Whether a value can hardly stand in a file by chance."""
    return not value.replace("_", "").isalpha() and not _NAME_OF_VARIABLE.fullmatch(value)


def _found(address: str) -> list[str]:
    found = [*_USER_INFO.findall(address), *_TOKEN.findall(address), *_SECRET_PARAMETER.findall(address)]
    return [secret.strip("'\"") for secret in found]
