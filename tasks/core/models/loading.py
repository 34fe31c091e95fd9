"""A model's file becomes an estimator: in whichever environment this runs, and with what that environment remarks."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any

from tasks.core.models.formats import Format, get_format

MISSING = "none"


@dataclass(frozen=True)
class Opened:
    """An estimator, what its libraries warned of while it was made, and their versions."""

    estimator: Any
    warnings: tuple[str, ...]
    libraries: dict[str, str]


def open_here(format_name: str, content: bytes, allowed_types: Collection[str]) -> Opened:
    """The estimator in a file's bytes; ModelBlocked for what is on no allow-list, or cannot be read here."""
    model_format = get_format(format_name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator = model_format.load(content, allowed_types)
    warned = tuple(dict.fromkeys(str(each.message).strip() for each in caught))
    return Opened(estimator, warned, libraries(model_format) | _packages_of(allowed_types))


def libraries(model_format: Format) -> dict[str, str]:
    """The versions, here, of Python and of what decides how a format's files load and score."""
    return {"python": platform.python_version()} | {name: installed(name) for name in model_format.packages}


def _packages_of(allowed_types: Collection[str]) -> dict[str, str]:
    """The versions, here, of the installed packages that the job allows types of, such as lightgbm."""
    found = {package: installed(package) for package in sorted({one.partition(".")[0] for one in allowed_types})}
    return {package: number for package, number in found.items() if number != MISSING}


def installed(package: str) -> str:
    """Its version here; MISSING where it is not installed."""
    try:
        return installed_version(package)
    except PackageNotFoundError:
        return MISSING


def other_libraries(registered: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """A remark for each library that is of another minor version than where the model was registered."""
    remarks = []
    for package, now in found.items():
        then = registered.get(package)
        if then and package != "python" and _minor(then) != _minor(now):
            remarks.append(f"the model was registered with {package} {then}, and is scored with {now}")
    return remarks


def _minor(number: str) -> list[str]:
    return number.split(".")[:2]
