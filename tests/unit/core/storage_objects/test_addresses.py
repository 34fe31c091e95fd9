"""Keys in an address are refused, wherever in it they stand, and never shown."""

import traceback

import pytest

from tasks.core.errors import DefinitionError
from tasks.core.storage import Folder, Lake

pytestmark = pytest.mark.extras


@pytest.mark.parametrize(
    "wrong",
    [
        "s3://AKIA:se/cret@bucket/x",
        "s3a://AKIA:cret@bucket/x",
        "s3://se/cret@bucket/x",
        "s3://cret@bucket",
        "gs://a/cret:b/x",
        "az://cret@box/x",
        "azure://cret:x/y",
        "abfs://box@account:cret/x",
        "abfss://cret:x@account/y",
        "s3://[cret/y",
        "s3://cret\u2100:x/y",
    ],
)
@pytest.mark.parametrize("kind", [Lake, Folder])
def test_an_address_with_keys_is_refused_and_they_are_not_shown(wrong, kind):
    with pytest.raises(DefinitionError) as refused:
        kind(wrong)
    said = "".join(traceback.format_exception_only(refused.value))
    assert "set LAMPLIGHTER_LAKE" in said
    assert "cret" not in said
    assert "AKIA" not in said
    assert refused.value.__cause__ is None


def test_the_container_of_an_azure_address_is_no_secret():
    assert Lake("abfs://box@account.dfs.core.windows.net/x").address() == "abfs://box@account.dfs.core.windows.net/x"
