"""What could run text, bytes or a shell's words is done in the places that this file names, and nowhere else."""

import ast
import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("tasks", "flows", "expectations") for path in (ROOT / folder).rglob("*.py"))

# Calls that make code, objects or a process of what they are given; a name's last parts are enough.
RUNS_CODE = {
    "eval", "exec", "compile", "__import__", "execfile",
    "os.system", "os.popen", "os.execv", "os.execve", "os.execvp", "os.execvpe", "os.spawnv", "os.fork", "pty.spawn",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "cPickle.loads", "joblib.load", "dill.loads", "cloudpickle.loads",
    "marshal.load", "marshal.loads", "shelve.open", "np.load", "numpy.load", "pd.read_pickle", "pd.eval", "torch.load",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.FullLoader", "yaml.UnsafeLoader", "yaml.Loader",
    "subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_output", "subprocess.check_call",
    "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell",
    "NumpyUnpickler", "code.interact", "runpy.run_path", "runpy.run_module", "spec.loader.exec_module",
    "tempfile.mktemp", "shutil.unpack_archive", "ctypes.CDLL", "CDLL",
}  # fmt: skip
DOORS = {
    # Plain values alone, by a loader made of the safe one.
    "tasks/core/definitions/project.py": {"yaml.load"},
    # The server and its workers, held on a leash that becomes them; an interpreter that a person named; git.
    "tasks/orchestration/processes.py": {"subprocess.Popen"},
    "tasks/orchestration/leashed.py": {"os.execv", "ctypes.CDLL"},
    # joblib's reader, taken apart: every name goes through the allow-list.
    "tasks/core/models/formats/joblib_format.py": {"NumpyUnpickler"},
    "tasks/core/models/elsewhere/process.py": {"subprocess.Popen"},
    "tasks/core/provenance.py": {"subprocess.run"},
    # Lamplighter's own C, by the compiler of this machine; what comes of it lies where nobody else may write.
    "tasks/core/models/trees/library.py": {"subprocess.run", "ctypes.CDLL"},
    # The protocol's own file, before the package of it can be had.
    "tasks/core/models/elsewhere/start.py": {"spec.loader.exec_module"},
    # renameat2, of the C library that this process runs on.
    "tasks/core/storage/system.py": {"ctypes.CDLL"},
}
# What else ruff's rules on security let pass, by a word of its own in that line.
EXCUSED = {
    "S101",  # assert, where a type checker needs to be told
    "S104",  # an address that is asked for
    "S310",  # whether a cluster's worker reaches the run's own Prefect server
    "S311",  # the draws of an audit, which are to come out the same again
    "S506",  # the loader above
    "S603",  # the processes above
    "S606",
    "S608",  # names are quoted, and values are bound
}


def dotted(node):
    """`a.b.c`, of a name or an attribute; '' of all else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        of = dotted(node.value)
        return f"{of}.{node.attr}" if of else ""
    return ""


def names_of(node):
    """What an import brings, by the name that it would be called by; what a call calls."""
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{one.name}" for one in node.names]
    if isinstance(node, ast.Call | ast.Attribute):
        return [dotted(node.func if isinstance(node, ast.Call) else node)]
    return [node.id] if isinstance(node, ast.Name) else []


def dangerous_in(text):
    """The dangerous names in a module's text."""
    return {name for node in ast.walk(ast.parse(text)) for name in names_of(node) if name in RUNS_CODE}


def through_a_shell(text):
    """The calls that hand words to a shell."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.keyword)
        and node.arg == "shell"
        and not (isinstance(node.value, ast.Constant) and node.value.value is False)
    ]


def test_what_runs_code_is_done_behind_its_door_alone():
    found = {str(path.relative_to(ROOT)): dangerous_in(path.read_text()) for path in SOURCES}
    assert {path: names for path, names in found.items() if names} == DOORS


def test_nothing_goes_through_a_shell():
    assert [str(path) for path in SOURCES if through_a_shell(path.read_text())] == []


def test_no_certificate_is_left_unchecked():
    careless = re.compile(r"verify\s*=\s*False|_create_unverified_context|CERT_NONE|check_hostname\s*=\s*False")
    assert [str(path) for path in SOURCES if careless.search(path.read_text())] == []


def test_the_linter_s_rules_on_security_hold_and_what_is_excused_is_listed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert {"S", "TID", "BLE"} <= set(settings["select"])
    assert not [one for one in settings["ignore"] if one.startswith("S")]
    of_the_product = {key: rules for key, rules in settings["per-file-ignores"].items() if not key.startswith("tests/")}
    assert {rule for rules in of_the_product.values() for rule in rules} == {"TID251"}
    said = re.compile(r"noqa:([ ,A-Z0-9]*)")
    excused = {
        rule for path in SOURCES for line in said.findall(path.read_text()) for rule in re.findall(r"\bS\d+", line)
    }
    assert excused == EXCUSED


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "import os\nos.system('x')",
        "from os import system\nsystem('x')",
        "import pickle\npickle.loads(b'')",
        "from pickle import loads",
        "import yaml\nyaml.load('', Loader=yaml.UnsafeLoader)",
        "import subprocess as s\nfrom subprocess import run",
        "f = exec",
        "load = joblib.load",
    ],
)
def test_the_check_finds_what_is_wrong(text):
    assert dangerous_in(text)


def test_the_check_finds_a_shell():
    assert through_a_shell("subprocess.run('x', shell=True)")
    assert through_a_shell("subprocess.run('x', shell=given)")
    assert not through_a_shell("subprocess.run(['x'], shell=False)")
