"""Cases, the choices they are made of, and the errors about them."""

import ast
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.axes import Executor, Experiment, Guard, Outcome, Shape, Workload
from tasks.threads import child, errors
from tasks.threads.cases import Case
from tasks.threads.child import MEASURED, workload_version
from tasks.threads.measured.executors import EXECUTORS
from tasks.threads.measured.race import GUARDS, SHAPES
from tasks.threads.measured.workloads import WORKLOADS
from tests.support.altered_tree import AlteredTree


def test_every_row_has_its_function() -> None:
    """What can be chosen is exactly what the measured program can do."""
    assert set(WORKLOADS) == set(Workload)
    assert set(EXECUTORS) == set(Executor)
    assert set(SHAPES) == set(Shape)
    assert set(GUARDS) == set(Guard)


@pytest.mark.parametrize("workload", [one for one in Workload if one is not Workload.CHILD])
def test_rows_know_their_number_of_items(workload: Workload) -> None:
    """The row's number of items is the number that the function makes."""
    assert len(WORKLOADS[workload](1).items) == workload.items


def test_the_book_starts_a_thread_per_item() -> None:
    """The number of workers is no choice for `serial`, `asyncio` and `thread`."""
    assert Case.speedup(Workload.FACTORIZE, Executor.SERIAL, 7).workers == 1
    assert Case.speedup(Workload.WAIT, Executor.THREAD, 7).workers == 5
    assert Case.speedup(Workload.WAIT, Executor.THREAD_POOL, 7).workers == 7


def test_unlocked_cells_keep_their_count_when_quick() -> None:
    """A quick race without a guard still has a million updates per thread."""
    assert Guard.NONE.quick_updates == Guard.NONE.updates == 1_000_000


@pytest.mark.parametrize(
    "make",
    [
        lambda: Case.ceiling(0),
        lambda: Case.ceiling(1, 0),
        lambda: Case.ceiling(10**6),
        lambda: Case.race(Guard.LOCK),
        lambda: Case.race(Guard.QUEUE, Shape.AUGMENTED),
        lambda: Case(Experiment.SPEEDUP, 1, 1, workload=Workload.WAIT),
        lambda: Case(Experiment.CEILING, 1, 1, workload=Workload.WAIT),
    ],
)
def test_what_is_no_cell_is_refused(make: Callable[[], Case]) -> None:
    """Parts that do not make a case raise InvalidCase."""
    with pytest.raises(errors.InvalidCase):
        make()


def test_keys_tell_cases_apart() -> None:
    """A key is readable, and another count or another number of workers is another key."""
    case = Case.speedup(Workload.WAIT, Executor.THREAD_POOL, 2)
    assert case.key == "speedup/wait/thread-pool/2x1"
    assert Case.race(Guard.LOCK, Shape.COMPUTED, 5, 10).key == "race/lock/computed/5x10"
    assert Case.race(Guard.LOCK, Shape.COMPUTED, 5, 11).key != Case.race(Guard.LOCK, Shape.COMPUTED, 5, 10).key


def test_only_broken_things_are_failures() -> None:
    """A lost unlocked update and a skipped case are findings, not failures."""
    assert {one for one in Outcome if not one.is_failure} == {
        Outcome.OK,
        Outcome.LOST,
        Outcome.NONE_OBSERVED,
        Outcome.NOT_EXERCISED,
        Outcome.SKIPPED,
    }


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidCase("race/lock", "no shape"),
        errors.InterpreterUnusable("/bin/true", "it answered ''"),
        errors.MeasuringCancelled("race/lock"),
        errors.HostBusy("/tmp/lock", 2.0, "process 1"),
        errors.ProcessesRemain("1, 2"),
    ],
)
def test_errors_survive_pickling(error: errors.ExperimentError) -> None:
    """Type, data and text of every leaf come back from another process."""
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # made on the line before
    assert (type(again), again.args, str(again)) == (type(error), error.args, str(error))
    assert str(error)


def test_the_workload_version_follows_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any change to a file of the measured program changes its version."""
    versions = []
    for name, source in (("a", "x = 1"), ("b", "x = 1"), ("c", "x = 2")):
        (tmp_path / name / "measured").mkdir(parents=True)
        (tmp_path / name / "measured" / "program.py").write_text(source)
        monkeypatch.setattr(child, "MEASURED", tmp_path / name)
        versions.append(workload_version())
    first, same, other = versions
    assert first == same != other


def test_the_measured_program_needs_the_standard_library_only() -> None:
    """No module of the measured program imports one of ours, or one that has to be installed."""
    for path in sorted((MEASURED / "measured").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= sys.stdlib_module_names
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert str(node.module).split(".")[0] in sys.stdlib_module_names


def test_an_executor_is_one_row_and_one_function(tmp_path: Path, environment: dict[str, str]) -> None:
    """Added as docs/architecture.md says, it is offered, measured, recorded, and told by its name for people."""
    tree = AlteredTree(tmp_path, environment)
    tree.add(
        "tasks/axes.py",
        '    BACKWARDS = "backwards", "the last item first", False\n',
        after='    INTERPRETER_POOL = "interpreter-pool", "sub-interpreters", True\n',
    )
    tree.add(
        "tasks/threads/measured/executors.py",
        '\n\n@row(EXECUTORS, "backwards")\n'
        'def backwards(job: "Job", items: "Sequence[object]", _workers: int) -> "Done":\n'
        '    """The last item first, in the main thread."""\n'
        "    return collected([metered(job.work, item) for item in reversed(items)][::-1])\n",
    )
    assert "backwards" in tree.threadmill("experiment", "--help")
    arguments = ("--workload", "factorize", "--executor", "backwards", "--rounds", "1", "--quick", "--via", "direct")
    told = tree.threadmill("experiment", "speedup", *arguments)
    assert "the last item first" in told
    (row_of_it,) = json.loads(tree.threadmill("history", "speedup", "--executor", "backwards", "--json"))
    assert (row_of_it["executor"], row_of_it["failures"], row_of_it["skipped"]) == ("backwards", 0, None)
