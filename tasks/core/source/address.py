"""Where a database is: from the job, the environment or a block. What may hold a secret is never shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import SecretStr

from tasks.core.definitions.source import Addressed
from tasks.core.errors import DefinitionError
from tasks.core.secret_parts import secrets_in
from tasks.core.settings import environment
from tasks.core.source.problems import mask, mask_quoted, whole_address

BlockReader = Callable[[str], str]


@dataclass(frozen=True)
class Address:
    """An address, and how it may be spoken of: as it stands where the job gives it, else by where it is kept."""

    text: SecretStr
    name: str
    is_secret: bool

    def without_address(self, message: str) -> str:
        """A message about connecting, which may quote any part of an address."""
        value = self.text.get_secret_value()
        return mask_quoted(message, whole_address(value)) if self.is_secret else self.without_secrets(message)

    def without_secrets(self, message: str) -> str:
        """A message about a query: it may speak of tables that are named as the database is."""
        return mask(message, secrets_in(self.text.get_secret_value()))


def address_of(
    given: Addressed, driver: str, read_block: BlockReader | None, *, whose: str = "the job's source"
) -> Address:
    """The address that the job names; DefinitionError where it is not there."""
    if given.uri is not None:
        return Address(SecretStr(given.uri), f"the {driver} database at {given.uri}", is_secret=False)
    if given.uri_env is not None:
        value = environment(given.uri_env)
        kept = f"the environment variable {given.uri_env}"
    else:
        value = _from_block(given.uri_block or "", read_block, whose)
        kept = f"the block '{given.uri_block}'"
    if not value:
        raise DefinitionError(
            f"{whose} takes its address from {kept}, and there is none",
            state="nothing was started",
            next_step=f"put the address of the database into {kept}",
        )
    return Address(SecretStr(value), f"the {driver} database whose address is in {kept}", is_secret=True)


def _from_block(name: str, read_block: BlockReader | None, whose: str) -> str:
    if read_block is None:
        raise DefinitionError(
            f"{whose} takes its address from the block '{name}', and no blocks are read here",
            state="nothing was started",
            next_step="run it as a flow, or use uri_env",
        )
    return read_block(name)
