"""Secrets from Prefect blocks: what the foundations, which do not know Prefect, are handed as a function."""

from __future__ import annotations

from typing import Any

from tasks.core.errors import SourceError


def secret_address(block: str) -> str:
    """The address in a Prefect Secret block; SourceError where there is none."""
    from prefect.blocks.system import Secret  # noqa: PLC0415 - Prefect is imported where a job asks for it

    try:
        secret: Any = Secret.load(block)
    except ValueError as error:
        raise SourceError(
            f"there is no Prefect block secret/{block}",
            next_step=f"create a Secret block named {block} in the Prefect UI",
        ) from error
    return str(secret.get())
