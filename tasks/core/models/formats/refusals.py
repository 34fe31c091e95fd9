"""What every format says of a file that it will not load."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.core.errors import ModelBlocked
from tasks.core.models.formats.allow_list import is_forbidden


def refused(names: Sequence[str]) -> ModelBlocked:
    """The file names what nobody has allowed."""
    never = [name for name in names if is_forbidden(name)]
    return ModelBlocked(
        f"the model's file names what is on no allow-list: {', '.join(names)}",
        state="nothing in the file was run",
        next_step=f"Nobody can allow {', '.join(never)}: do not trust this file"
        if never
        else "add these to model.allowed_types in the job's YAML, if you know what they are and who wrote the file",
    )


def unreadable(format_name: str, why: str) -> ModelBlocked:
    """The file is not one of its format, or of another version of its libraries."""
    article = "an" if format_name[0] in "aeion" else "a"
    return ModelBlocked(
        f"the model's file is not {article} {format_name} file that can be read here: {why}",
        state="no row was scored",
        next_step="register the model again, saved in this environment, or let the environment that saved it load it: "
        "lamplighter register --interpreter NAME",
    )
