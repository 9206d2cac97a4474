"""The folder of a run: its states, what it refuses, what it keeps."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from adaptune.core.errors import AdaptuneError, Interrupted
from adaptune.core.run_folder import RunDir, read_json_lines

RECIPE = "seed: 1\n"
ENVIRONMENT = {"python": "3.11"}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "out" / "run")
    run.begin(RECIPE, ENVIRONMENT)
    return run


def checkpoint(run: RunDir, content: str = "weights") -> None:
    with run.new_checkpoint() as folder:
        (folder / "state").write_text(content)


def test_a_new_run_has_its_recipe_and_environment(run: RunDir) -> None:
    assert run.recipe.read_text() == RECIPE
    assert json.loads(run.environment.read_text()) == ENVIRONMENT
    assert run.state == "empty"


def test_a_run_is_unfinished_with_its_first_checkpoint_and_finished_with_its_report(run: RunDir) -> None:
    checkpoint(run)
    assert run.state == "unfinished"
    run.write_report({"seed": 1})
    assert run.state == "finished"
    assert not run.checkpoint.exists()


def test_a_finished_run_is_not_overwritten_unasked(run: RunDir) -> None:
    run.write_report({"seed": 1})
    with pytest.raises(AdaptuneError, match=r"holds a finished run \(report.json\).*--overwrite"):
        run.begin(RECIPE, ENVIRONMENT)
    assert json.loads(run.report.read_text()) == {"seed": 1}


def test_an_unfinished_run_is_not_overwritten_unasked(run: RunDir) -> None:
    checkpoint(run)
    with pytest.raises(AdaptuneError, match=r"holds an unfinished run \(checkpoint/\); continue it with --resume"):
        run.begin(RECIPE, ENVIRONMENT)
    assert (run.checkpoint / "state").read_text() == "weights"


def test_overwriting_removes_what_the_earlier_run_wrote_and_nothing_else(run: RunDir) -> None:
    run.log_step({"step": 1})
    checkpoint(run)
    with run.new_bundle() as folder:
        (folder / "manifest.json").write_text("{}")
    run.write_predictions([{"row": 1}])
    run.write_report({})
    (run.path / "notes.txt").write_text("mine")
    run.begin("seed: 2\n", ENVIRONMENT, overwrite=True)
    assert sorted(file.name for file in run.path.iterdir()) == [
        "environment.json",
        "notes.txt",
        "recipe.yaml",
    ]
    assert run.recipe.read_text() == "seed: 2\n"


def test_a_run_that_stopped_before_its_first_checkpoint_may_start_again(run: RunDir) -> None:
    run.log_step({"step": 1})
    run.begin(RECIPE, ENVIRONMENT)
    assert not run.steps.exists()


def test_a_folder_with_other_files_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("# my own, with comments\n")
    with pytest.raises(AdaptuneError, match=r"holds other files \(recipe.yaml\) and no run"):
        RunDir(tmp_path).begin(RECIPE, ENVIRONMENT, overwrite=True)
    assert (tmp_path / "recipe.yaml").read_text() == "# my own, with comments\n"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(AdaptuneError, match="is a file; name a folder"):
        RunDir(tmp_path / "run").begin(RECIPE, ENVIRONMENT)


def test_logs_are_whole_lines_in_order(run: RunDir) -> None:
    for step in (1, 2):
        run.log_step({"step": step, "loss": 0.5})
    run.log_scores({"step": 2, "accuracy": 0.9})
    assert run.steps.read_text() == '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.5}\n'
    assert list(read_json_lines(run.scores)) == [{"step": 2, "accuracy": 0.9}]


def test_a_half_written_last_line_is_dropped_when_the_run_goes_on(run: RunDir) -> None:
    run.log_step({"step": 1})
    with run.steps.open("a") as file:
        file.write('{"step": 2, "lo')
    checkpoint(run)
    run.go_on()
    run.log_step({"step": 2})
    assert run.steps.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_what_was_logged_after_the_checkpoint_is_dropped_when_the_run_goes_on(run: RunDir) -> None:
    for step in (1, 2, 3):
        run.log_step({"step": step})
        run.log_scores({"step": step, "accuracy": 0.9})
    checkpoint(run)
    run.go_on(step=2)
    assert [record["step"] for record in read_json_lines(run.steps)] == [1, 2]
    assert [record["step"] for record in read_json_lines(run.scores)] == [1, 2]


def test_a_run_without_a_checkpoint_cannot_go_on(run: RunDir) -> None:
    with pytest.raises(AdaptuneError, match=r"holds no checkpoint/ to resume from"):
        run.go_on()


def test_a_finished_run_cannot_go_on(run: RunDir) -> None:
    run.write_report({})
    with pytest.raises(AdaptuneError, match="is finished"):
        run.go_on()


def test_a_checkpoint_that_fails_keeps_the_one_before(run: RunDir) -> None:
    checkpoint(run, "first")
    with suppress(RuntimeError), run.new_checkpoint() as folder:
        (folder / "state").write_text("sec")
        raise RuntimeError("stop")
    assert (run.checkpoint / "state").read_text() == "first"


def test_a_checkpoint_set_aside_by_a_process_that_died_is_found_again(run: RunDir) -> None:
    checkpoint(run)
    run.checkpoint.rename(run.path / ".checkpoint.old")
    assert RunDir(run.path).state == "unfinished"
    run.go_on()
    assert (run.checkpoint / "state").read_text() == "weights"


def test_a_run_is_running_while_a_process_is_at_it(run: RunDir) -> None:
    with run.under_way({"task": "classify"}):
        assert RunDir(run.path).running
        with pytest.raises(AdaptuneError, match=r"process \d+ is at the run"):
            RunDir(run.path).begin(RECIPE, ENVIRONMENT, overwrite=True)
        with pytest.raises(AdaptuneError, match=r"process \d+ is at the run"), RunDir(run.path).under_way({}):
            pass
        checkpoint(run)
        with pytest.raises(AdaptuneError, match=r"process \d+ is at the run"):
            RunDir(run.path).go_on()
        run.go_on()
    assert not run.running
    with run.under_way({}):
        pass


def test_a_run_says_in_brief_what_it_is_of_and_what_it_came_to(run: RunDir) -> None:
    with run.under_way({"task": "classify", "seed": 1}):
        begun = run.in_brief()
        assert set(begun) == {"task", "seed", "begun"}
    with run.under_way({"task": "classify", "seed": 2}):
        run.write_report({"all": "of it"}, {"test": {"accuracy": 0.9}})
    found = run.in_brief()
    assert found == {**begun, "seed": 2, "test": {"accuracy": 0.9}, "ended": found["ended"]}
    assert found["begun"] <= found["ended"]


def test_an_error_is_kept_until_the_run_goes_on_and_a_signal_is_none(run: RunDir) -> None:
    with pytest.raises(ValueError, match="no rows"), run.under_way({}):
        raise ValueError("no rows")
    assert json.loads(run.failure.read_text())["error"] == "ValueError: no rows"
    with pytest.raises(Interrupted), run.under_way({}):
        raise Interrupted("stopped", 15)
    assert not run.failure.exists()


def test_counts_of_several_tasks_have_a_file_each(run: RunDir) -> None:
    run.write_counts([[1, 1], [0, 1]])
    run.write_counts([[1, 1]], "intent")
    assert json.loads(run.counts.read_text()) == [[1, 1], [0, 1]]
    assert json.loads(run.counts_of("intent").read_text()) == [[1, 1]]
    run.begin(RECIPE, ENVIRONMENT)
    assert not run.counts_of("intent").exists()


def test_processes_beside_the_main_one_write_nothing(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run", main=False)
    run.begin(RECIPE, ENVIRONMENT)
    run.log_step({"step": 1})
    run.log_scores({"step": 1})
    run.write_rejected([{"row": 1}])
    run.write_predictions([{"row": 1}])
    with run.under_way({"task": "classify"}):
        run.write_report({}, {"test": {}})
    with run.new_checkpoint() as folder:
        (folder / "state").write_text("x")
    assert not run.path.exists()


WAITS = """
import sys
from adaptune.core.run_folder import RunDir
run = RunDir(sys.argv[1])
run.begin("seed: 1", {})
with run.under_way({}):
    print("begun", flush=True)
    sys.stdin.read()
"""


def test_a_folder_says_which_process_is_at_work_and_another_is_refused(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    command = [sys.executable, "-c", WAITS, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        assert run.at_work is not None
        assert run.at_work.pid == process.pid
        for act in (run.go_on, lambda: run.begin(RECIPE, ENVIRONMENT, overwrite=True)):
            with pytest.raises(AdaptuneError, match=f"process {process.pid} is at the run in"):
                act()
        process.communicate()
    assert not run.process.exists()
    run.begin(RECIPE, ENVIRONMENT)


def test_who_was_at_work_is_known_by_more_than_a_number_that_is_given_anew(run: RunDir) -> None:
    with run.under_way({}):
        assert run.at_work is not None
        told = json.loads(run.process.read_text())
        run.process.write_text(json.dumps(told | {"began": told["began"] - 60}))
        assert run.at_work is None
        run.process.write_text(json.dumps(told | {"host": "elsewhere"}))
        assert run.at_work is None
        run.process.write_text('{"pid": ')
        assert run.at_work is None
    assert not run.process.exists()
