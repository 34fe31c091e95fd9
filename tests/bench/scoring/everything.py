"""All that is measured of scoring, over one world and one Prefect server."""

import argparse
from collections.abc import Iterator

from tests.bench import report
from tests.bench.scoring import contest, fixed, profiled, scale, server, world

# So many rows are enough to see where CPU time goes.
_PROFILED = 1_000_000
# What a registration compiles.
COMPILES = ("boosted", "forest", "regression")


def parts(given: argparse.Namespace) -> Iterator[report.Part]:
    folder = world.folder_of(given.folder or world.CACHE, given.columns)
    can_compile = world.takes_compile()
    for model in given.model:
        world.make(folder, given.rows, given.columns, (model,), compiled=can_compile and model in COMPILES)
    with server.running(folder) as environment:
        if "fixed" in given.parts:
            yield fixed.run(folder, environment, given.model[0])
        runs = {}
        if "scoring" in given.parts:
            for model in given.model:
                asked = _asked(given, folder, environment, model, compiled=can_compile and model in COMPILES)
                found = contest.hold(asked)
                runs[model] = found[contest.OURS]
                yield contest.part(asked, found)
        if "scale" in given.parts:
            yield _scale(given, folder, environment, runs)
        if "profile" in given.parts:
            rows = min(given.rows, _PROFILED)
            for model in given.model[: 1 if given.is_short else None]:
                world.make(folder, rows, given.columns, (model,))
                yield profiled.run(folder, environment, model, rows)


def _asked(given, folder, environment, model: str, *, compiled: bool) -> contest.Asked:
    chosen = contest.contenders_of(model, compiled=compiled)
    if given.contender:
        chosen = tuple(one for one in chosen if one in ("bare", contest.OURS, contest.COMPILED, *given.contender))
    return contest.Asked(folder, environment, model, given.rows, chosen, given.runs, given.limit)


def _scale(given, folder, environment, runs) -> report.Part:
    model = given.model[0]
    done = runs.get(model)
    known = {given.rows: done.runs[-1]} if done and done.runs and done.rows == given.rows else {}
    sizes = [int(given.rows * share) for share in scale.SHARES]
    return scale.run(folder, environment, sizes, known, model=model, limit=4 * given.limit)
