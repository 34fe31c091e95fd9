"""`python -m tests.mutants`: breaks publishing, conservation and the registry on purpose, and lists what no test notices.

mutmut makes the mutants and runs the tests that reach each; what is mutated, and by which tests, says pyproject.toml. Added
to its ways are those that matter where nothing may be half done: a call left out, an error not raised, a condition that
always holds or never does. The wording of messages is left alone.

`--share 0.12` takes a seeded sample of each module's mutants, `--report` says again what was found. Results stand until
the code or a test's choice changes; names of mutants, as the list has them, are tested again. `mutmut show NAME` shows one.
"""

import argparse
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import hypothesis
import libcst as cst
from mutmut import __main__ as mutmut
from mutmut.mutation import file_mutation, mutators
from mutmut.mutation.data import SourceFileMutationData
from mutmut.stats import status_by_exit_code

WORDING = ("state", "next_step")
SAMPLE = Path("mutants/sample")
# Not of pytest: the mutant's tests could not even be collected.
_BROKEN = 255
_KILLED = ("killed", "timeout", "segfault")
_all_mutations = file_mutation.create_mutations


def leave_out(node: cst.Expr) -> Iterable[cst.Pass]:
    if isinstance(node.value, cst.Call):
        yield cst.Pass()


def raise_nothing(_node: cst.Raise) -> Iterable[cst.Pass]:
    yield cst.Pass()


def force(node: cst.If) -> Iterable[cst.If]:
    """The condition is still worked out: it may name what the branch needs."""
    test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    for operator, literal in ((cst.And(), "False"), (cst.Or(), "True")):
        yield node.with_changes(test=cst.BooleanOperation(left=test, operator=operator, right=cst.Name(literal)))


def other_name(node: cst.BaseString) -> Iterable[cst.BaseString]:
    """Of a text with blanks, which is a sentence, another wording is as good."""
    if isinstance(node, cst.SimpleString) and " " not in node.value:
        yield from list(mutators.operator_string(node))[:1]


def other_arguments(node: cst.Call) -> Iterable[cst.Call]:
    for mutated in mutators.operator_arg_removal(node):
        changed = {id(arg): arg for arg in node.args if all(arg is not one for one in mutated.args)}
        if not any(arg.keyword and arg.keyword.value in WORDING for arg in changed.values()):
            yield mutated


def change_operators() -> None:
    changed = (mutators.operator_string, mutators.operator_arg_removal)
    mutators.mutation_operators[:] = [
        *((kind, operator) for kind, operator in mutators.mutation_operators if operator not in changed),
        (cst.BaseString, other_name),
        (cst.Call, other_arguments),
        (cst.Expr, leave_out),
        (cst.Raise, raise_nothing),
        (cst.If, force),
    ]


def sample(share: float, seed: int) -> None:
    """From here on mutmut makes a share of a module's mutants; which, the seed decides. Another sample begins anew."""
    wanted = f"{share} {seed}"
    if not SAMPLE.exists() or SAMPLE.read_text() != wanted:
        shutil.rmtree(SAMPLE.parent, ignore_errors=True)
        SAMPLE.parent.mkdir()
        SAMPLE.write_text(wanted)

    def some(filename, *rest):
        module, mutations, *ignored = _all_mutations(filename, *rest)
        # What stands outside of functions is made, and never tested.
        mutations = [one for one in mutations if one.contained_by_top_level_function is not None]
        count = max(1, round(share * len(mutations)))
        picked = sorted(random.Random(f"{seed} {filename}").sample(range(len(mutations)), count))
        return module, [mutations[each] for each in picked], *ignored

    file_mutation.create_mutations = some


def quick_tests_first() -> None:
    """A mutant dies of the first test that fails, and Hypothesis need not look for the smallest example of it."""
    make = mutmut.get_mutant_runner

    def made(count):
        runner = make(count)
        submit, seconds = runner.submit, mutmut.state().duration_by_test
        runner.submit = lambda name, tests, *rest: submit(name, sorted(tests, key=seconds.__getitem__), *rest)
        return runner

    mutmut.get_mutant_runner = made
    hypothesis.settings.register_profile("mutants", phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate])
    hypothesis.settings.load_profile("mutants")


def report() -> None:
    """A line a module, and the mutants that no test noticed."""
    left, total = [], Counter()
    for path in sorted(map(str, mutmut.walk_mutatable_files())):
        data = SourceFileMutationData(path=Path(path))
        data.load()
        outcomes = {name: _outcome(code) for name, code in data.exit_code_by_key.items()}
        left += [f"{name}: {outcome}" for name, outcome in outcomes.items() if outcome not in _KILLED]
        counts = Counter(outcomes.values())
        total += counts
        print(_line(path, counts))
    print(_line("all", total), *left, sep="\n")


def _outcome(code: int | None) -> str:
    return "killed" if code == _BROKEN else status_by_exit_code[code]


def _line(what: str, outcomes: Counter) -> str:
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    return f"{what}: {outcomes.total()} mutants: {told}"


def main() -> int:
    """0 whatever is found: a survivor may mean the same as what it was made of, and is for a person to look at."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--share", type=float, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--report", action="store_true")
    asked = parser.parse_args()
    if not asked.report:
        change_operators()
        sample(asked.share, asked.seed)
        quick_tests_first()
        mutmut._run(asked.names, asked.processes)
    report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
