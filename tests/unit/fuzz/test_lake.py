"""Damaged files, and every command typed at them: a clear word, an end, and nothing lost. The short version: test_doors."""

import os
import pathlib
import random
import subprocess
import sys

import pytest

from tests.unit.fuzz.mutations import mutate

CASES = 4000


def fuzzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: it forks, and one in which tests have run has threads."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "tests.unit.fuzz", *arguments]
    root = pathlib.Path(__file__).parents[3]
    return subprocess.run(command, env=os.environ | threads, cwd=root, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_thousands_of_damaged_files_are_told_and_nothing_is_lost():
    ended = fuzzed("--cases", str(CASES), "--seed", "2")
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", ["a.json", "a.parquet", "a.yaml", "a.bin"])
def test_a_mutation_can_be_drawn_again(tmp_path, name):
    import pyarrow as pa
    import pyarrow.parquet as pq

    def drawn(seed: int) -> tuple[str, object]:
        path = tmp_path / name
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_bytes(b'{"a": [1, {"b": 2}]}')
        if name.endswith("parquet"):
            pq.write_table(pa.table({"x": [1]}), path)
        told = mutate(path, random.Random(seed))
        return told, path.read_bytes() if path.is_file() else os.path.lexists(path)

    assert [drawn(seed) for seed in range(60)] == [drawn(seed) for seed in range(60)]
    assert len({drawn(seed)[0].partition(":")[0] for seed in range(200)}) >= 10
