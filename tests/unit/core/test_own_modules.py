"""Which own modules decide a run: those of the model's types and adapters, the custom expectations, and what they import."""

import hashlib
import types

import pytest

from tasks.core import own_modules, provenance
from tasks.core.definitions.project import parse_job
from tasks.core.runs.manifest import CodeRecord
from tasks.core.storage import Folder

JOB = """
job: meters
window: {kind: snapshot, every: 1d}
source: {type: files, path: data}
keys: [meter]
columns: {meter: string, kwh: float64}
SUITE
model: {name: meters, allowed_types: [ours.model.Own, lightgbm.sklearn.LGBMClassifier]}
output: {columns: {score: {method: predict}}}
"""
FILES = {
    "ours/__init__.py": "",
    "ours/model.py": "import os, helpers as h\nfrom ours import deep\n",
    "ours/deep/__init__.py": "if True:\n    from units.power import kwh\n",
    "ours/__pycache__/model.py": "stale",
    "ours/table.csv": "1",
    "helpers.py": "import ours\n",
    "units/power.py": "kwh = 1\n",
    "unused.py": "",
    "around.py": "",
    "expectations/never_negative.py": "from thresholds import low\n",
    "expectations/meters.json": "{}",
    "thresholds.py": "low = 0\n",
}


@pytest.fixture
def project(tmp_path):
    for key, text in FILES.items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_text(text)
    own_modules._looked_at.cache_clear()
    yield Folder(tmp_path)
    own_modules._looked_at.cache_clear()


def job(suite=""):
    return parse_job(JOB.replace("SUITE", suite), where="x")


def version(*adapters):
    return types.SimpleNamespace(signature=types.SimpleNamespace(adapters=adapters))


def sha256(*keys):
    digest = hashlib.sha256()
    for key in keys:
        digest.update(f"{key}\0{len(FILES[key])}\0{FILES[key]}".encode())
    return digest.hexdigest()


def test_the_packages_that_the_model_names_and_what_they_import(project):
    assert own_modules.scoring_packages(job(), project) == ["helpers", "ours", "units"]
    assert own_modules.scoring_packages(job(), project, version("around:adapt")) == [
        "around",
        "helpers",
        "ours",
        "units",
    ]


def test_custom_expectations_count_where_there_is_a_suite(project):
    with_suite = job("suite: meters")
    assert own_modules.scoring_packages(with_suite, project) == ["helpers", "ours", "thresholds", "units"]
    found = own_modules.digests(with_suite, project, version())
    assert found["expectations"] == sha256("expectations/never_negative.py")
    assert "expectations" not in own_modules.digests(job(), project, version())


def test_each_digest_is_of_names_and_bytes_of_python_files(project):
    assert own_modules.digests(job(), project, version()) == {
        "helpers": sha256("helpers.py"),
        "ours": sha256("ours/__init__.py", "ours/deep/__init__.py", "ours/model.py"),
        "units": sha256("units/power.py"),
    }


def test_a_process_keeps_the_code_that_it_has_imported(project, tmp_path):
    before = own_modules.digests(job(), project, version())
    (tmp_path / "ours/model.py").write_text("changed = True\n")
    assert own_modules.digests(job(), project, version()) == before
    own_modules._looked_at.cache_clear()
    after = own_modules.digests(job(), project, version())
    assert after["ours"] != before["ours"]


def test_a_job_without_own_code_has_lamplighters_digest_alone(tmp_path):
    assert own_modules.digests(job(), Folder(tmp_path), version()) == {}
    code = CodeRecord(version="1", commit=None, dirty=None, digest="d")
    assert provenance.decisive_digest(code) == "d"
    one, other = (code.model_copy(update={"modules": {"ours": each}}) for each in ("a", "b"))
    assert len({"d", provenance.decisive_digest(one), provenance.decisive_digest(other)}) == 3


def test_strange_bytes_in_a_module_stop_nobody(project, tmp_path):
    (tmp_path / "ours/odd.py").write_bytes(
        b"\xff\xfe\x00import \n# from  import\nimport ,\nfrom . import x\nimport helpers;x=1\n"
    )
    assert own_modules.scoring_packages(job(), project) == ["helpers", "ours", "units"]


def test_a_package_whose_only_modules_lie_deep_has_a_digest(project, tmp_path):
    (tmp_path / "team/credit").mkdir(parents=True)
    (tmp_path / "team/credit/features.py").write_text("import units.power\n")
    assert set(own_modules.digests_of(["team.credit.features.Own"], project)) == {"team", "units"}


def test_what_a_link_leads_to_is_part_of_a_package(project, tmp_path):
    before = own_modules.digests(job(), project, version())["ours"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "shared.py").write_text("import around\n")
    (tmp_path / "ours/linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(elsewhere)
    own_modules._looked_at.cache_clear()
    assert own_modules.package_keys("ours", project)[2:] == ["ours/linked/shared.py", "ours/model.py"]
    assert own_modules.digests(job(), project, version())["ours"] != before
    assert "around" in own_modules.scoring_packages(job(), project)


@pytest.mark.parametrize(
    "text",
    [
        "import os; import around", "try: import around\nexcept ImportError: pass", "import os, \\\n  around",
        "\ufeffimport around", "from around import (a,\n b)", "x = 1\rimport around\r", "if x: from around import *",
        "from  around.deep  \\\n  import x", "import importlib\nimportlib.import_module('around.deep')",
    ],
)  # fmt: skip
def test_however_an_import_is_written(project, tmp_path, text):
    (tmp_path / "ours/model.py").write_bytes(text.encode())
    assert own_modules.scoring_packages(job(), project) == ["around", "ours", "units"]


def test_a_module_may_have_any_name_that_python_knows(project, tmp_path):
    (tmp_path / "kreditprüfung.py").write_text("")
    (tmp_path / "ours/model.py").write_text('from kreditprüfung import x\n"""\nimport helpers\n"""\n')
    assert own_modules.scoring_packages(job(), project) == ["kreditprüfung", "ours", "units"]
