"""The settings as a table: for the README, for `lamplighter settings`, and for who mistyped the name of one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.core.secret_parts import masked
from tasks.core.settings import PREFIX, Settings, environment, given_names

_NONE = "\N{EN DASH}"
# Which interpreters an installation has is its own business: any name is right.
_OF_INTERPRETERS = f"{PREFIX}PYTHON_"


@dataclass(frozen=True)
class Setting:
    """A variable: what it sets, what it is where nobody sets it, and what it holds now. A secret's value is not told."""

    variable: str
    default: str
    sets: str
    value: str = ""
    is_set: bool = False

    def markdown(self) -> str:
        default = f"`{self.default}`" if self.default != _NONE else _NONE
        return f"| `{self.variable}` | {default} | {self.sets.rstrip('.')} |"


@dataclass(frozen=True)
class _Other:
    """A variable that is not one of ours alone."""

    variable: str
    sets: str
    is_secret: bool = False


_OTHERS = (
    _Other(f"{_OF_INTERPRETERS}<NAME>", "The Python that loads the models bound to the interpreter `<name>`."),
    _Other("PREFECT_API_URL", "The Prefect server; without it a command starts one of its own for as long as it runs."),
    _Other(
        "PREFECT_API_AUTH_STRING", "The name and password, `NAME:PASSWORD`, that the server asks for.", is_secret=True
    ),
    _Other("MLFLOW_TRACKING_URI", "The MLflow server whose models jobs name as `models:/NAME@ALIAS`."),
)


def settings_table() -> list[Setting]:
    """Each setting, with what it holds now; a value that is wrong is shown as it was given."""
    return [*_ours(), *_of_others()]


def markdown_table() -> str:
    """The table of the README: nothing in it depends on this machine."""
    lines = ["| variable | default | what it sets |", "|---|---|---|"]
    return "\n".join([*lines, *(one.markdown() for one in settings_table())])


def unknown_variables() -> list[str]:
    """A sentence for each variable that looks like one of ours and is none, with the nearest name."""
    known = [_variable(name) for name in Settings.model_fields]
    return [
        _unknown(given, known)
        for given in given_names()
        if given.upper() not in known and not given.upper().startswith(_OF_INTERPRETERS)
    ]


def _ours() -> list[Setting]:
    lines = []
    for name, field in Settings.model_fields.items():
        variable, default = _variable(name), _NONE if field.default in (None, "") else str(field.default)
        given = environment(variable)
        lines.append(
            Setting(
                variable, default, field.description or "", value=masked(given or default), is_set=given is not None
            )
        )
    return lines


def _of_others() -> list[Setting]:
    lines = []
    for other in _OTHERS:
        given = environment(other.variable)
        told = "(set, not shown)" if given and other.is_secret else masked(given or _NONE)
        lines.append(Setting(other.variable, _NONE, other.sets, value=told, is_set=given is not None))
    return lines


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _unknown(given: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(given.upper(), known, n=1, cutoff=0.75)
    meant = f"; {near[0]} is near" if near else ""
    return f"{given} is set, and is no setting of Lamplighter{meant}. It does nothing."
