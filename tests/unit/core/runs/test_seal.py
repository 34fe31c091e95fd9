"""The seal of a manifest: what it shows, and what it does not."""

import json

import pytest

from tasks.core.runs.manifest import read_manifest
from tasks.core.runs.seal import SEAL, seal_of, sealed
from tests.page_samples import manifest


def edited(data: bytes, **changes) -> bytes:
    return json.dumps({**json.loads(data), **changes}).encode()


def test_what_is_written_is_sealed_and_read_as_it_was():
    written = manifest().to_json()
    said = json.loads(written)
    assert list(said)[-1] == SEAL
    assert not seal_of(written).is_broken
    assert read_manifest(written, where="x") == manifest()
    # The digest by another tool: canonical JSON of all else.
    import hashlib

    del said[SEAL]
    plain = json.dumps(said, sort_keys=True, separators=(",", ":"))
    assert seal_of(written).said == hashlib.sha256(plain.encode()).hexdigest()


@pytest.mark.parametrize("change", [{"run_id": "other"}, {"reasons": ["none"]}, {"rows": {}}, {"digest": "0" * 64}])
def test_an_edit_breaks_it_and_the_manifest_can_still_be_read(change):
    changed = edited(manifest().to_json(), **change)
    assert seal_of(changed).is_broken
    assert read_manifest(changed, where="x").job == manifest().job


def test_blanks_and_the_order_of_keys_do_not_count():
    said = json.loads(manifest().to_json())
    assert not seal_of(json.dumps(dict(reversed(said.items()))).encode()).is_broken


def test_a_manifest_of_before_says_nothing():
    said = json.loads(manifest().to_json())
    del said[SEAL]
    found = seal_of(json.dumps(said).encode())
    assert (found.said, found.is_broken) == (None, False)
    assert read_manifest(json.dumps(said).encode(), where="x") == manifest()


def test_who_writes_it_again_seals_it_again():
    changed = read_manifest(edited(manifest().to_json(), reasons=["none"]), where="x")
    assert not seal_of(changed.to_json()).is_broken


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'{"a": NaN}', b"\xff"])
def test_what_is_no_object_is_refused(data):
    with pytest.raises(ValueError, match=r".+"):
        seal_of(data)


def test_text_of_any_script_stands_as_it_is():
    assert sealed('{\n  "a": "é\\u0000"\n}').startswith('{\n  "a": "é\\u0000",\n  "digest": "'.encode())
