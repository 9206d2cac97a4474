"""The side-by-side benchmark of bench/: rows, scores, sessions and the page, and that both sides do the same work."""

from __future__ import annotations

import importlib
import json
import math
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities
from transformers import AutoTokenizer

from adaptune.prepare import prepare
from adaptune.run.kitchen import set_up
from adaptune.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
Module = Callable[[str], Any]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Module:
    """bench("peers.rows"): a module of that folder."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module


def test_training_validation_and_test_rows_are_read_as_the_data_sets_have_them(
    bench: Module, data: Callable[[str], Path]
) -> None:
    folder = data("banking77").parent
    sizes = {
        name: {part: len(rows) for part, rows in task.read(folder).items()}
        for name, task in bench("peers.rows").TASKS.items()
    }
    assert sizes["banking77"]["train"] + sizes["banking77"]["valid"] == 10_003
    assert sizes["banking77"]["test"] == 3_080
    assert sizes["clinc150"] == {"train": 15_100, "valid": 3_100, "test": 5_500}
    assert sizes["sst2"] == {"train": 6_920, "valid": 872, "test": 1_821}
    assert sizes["wnut17"] == {"train": 3_394, "valid": 1_009, "test": 1_287}
    assert sizes["stsb"] == {"train": 5_749, "valid": 1_500, "test": 1_379}
    assert sizes["e2e-nlg"]["train"] + sizes["e2e-nlg"]["valid"] == 547
    assert sizes["e2e-nlg"]["test"] == 200


def test_what_the_standard_library_scores_is_what_the_tasks_score(bench: Module) -> None:
    chance, scores = random.Random(4), bench("peers.scores")
    tags = ["O", "B-person", "I-person", "B-place", "I-place"]
    sides = [[[chance.choice(tags) for _ in range(9)] for _ in range(200)] for _ in range(2)]
    assert scores.score("tag", *sides) == pytest.approx(f1_score(sides[1], sides[0]), abs=1e-12)
    for words in sides[0]:
        assert {(kind, start, end - 1) for start, end, kind in scores.entities(words)} == set(get_entities(words))
    numbers = [[chance.gauss(0, 1) for _ in range(50)] for _ in range(2)]
    expected = TASKS.get("regress")().score(*numbers).values["pearson"]
    assert scores.score("regress", *numbers) == pytest.approx(expected, abs=1e-12)
    assert scores.score("classify", ["a", "b", "a", "a"], ["a", "b", "b", "a"]) == 0.75
    likelihoods = [(-3.0, 4), (-1.5, 2)]
    expected = TASKS.get("pretrain")().score(likelihoods, likelihoods).values["token_probability"]
    assert scores.score("write", likelihoods, ["a", "b"]) == pytest.approx(expected, abs=1e-12)


def order(bench: Module, **given: Any) -> Any:
    """An order on BANKING77 with what a test says of it."""
    usual = {"peer": "bucketed_loop", "task": "banking77", "setting": "tuned", "measure": "quality", "model": ""}
    return bench("peers.session").Order(**{**usual, "data": "", "seed": 1, "started": time.monotonic(), **given})


LITERAL = {
    "banking77": [
        ("where is my card", "card"),
        ("my card came late again", "card"),
        ("send money to my bank", "money"),
        ("the money was sent and it is not there", "money"),
    ],
    "wnut17": [
        (["mary", "went", "to", "paris", "by", "train"], ["B-person", "O", "O", "B-location", "O", "O"]),
        (
            ["john", "park", "paying", "in", "new", "york"],
            ["B-person", "I-person", "O", "O", "B-location", "I-location"],
        ),
    ],
    "e2e-nlg": [
        ("name[the river], food[fish]: ", "the river has good fish"),
        ("name[the park], near[the bus stop]: ", "find the park near the stop of the bus"),
    ],
}
"""Texts and labels by data set; labels in the order of their names."""


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("task", LITERAL)
def test_dropout_off_both_sides_have_the_same_gradients_on_a_literal_batch(
    bench: Module, task: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rows, loop, ours = bench("peers.rows"), bench("peers.bucketed_loop"), bench("peers.adaptune")
    literal = [rows.Row(text, label) for text, label in LITERAL[task]]
    told = order(
        bench, task=task, model=str(request.getfixturevalue("tiny_llama" if task == "e2e-nlg" else "tiny_bert"))
    )
    ours.write_rows(tmp_path, dict.fromkeys(rows.PARTS, literal))
    recipe = ours.recipe_of(told, tmp_path)
    kitchen = set_up(recipe, prepare(recipe))
    assembly, tokenizer = kitchen.assembly, kitchen.assembly.backbone.tokenizer
    reader = bench("peers.reading").Reader(tokenizer, told.of.kind, literal, standardised=True)
    model = loop.Model(told, reader)
    theirs = {name: p for name, p in model.trunk.named_parameters() if p.requires_grad}
    pairs = {
        (name, mine): next(p for other, p in theirs.items() if other.endswith(f".{name}"))
        for name, mine in assembly.trunk.named_parameters()
        if mine.requires_grad
    }
    assert len(pairs) == len(theirs) == 2 * 4 * 2  # A and B of four matrices in two layers
    with torch.no_grad():
        for (_, mine), other in pairs.items():
            other.copy_(mine.normal_(0, 0.2))
        if task != "e2e-nlg":
            places = [assembly.labels.index(name) for name in reader.names]
            model.head.weight.copy_(assembly.layer.weight[places])
            model.head.bias.copy_(assembly.layer.bias[places])
    model.train()
    model(loop.collate(reader.features(literal), tokenizer.pad_token_id or 0)).backward()
    assembly.train()
    losses = [assembly(batch) for batch in kitchen.batches()(0)]
    (sum(loss.total for loss in losses) / sum(loss.items for loss in losses)).backward()
    for (name, mine), other in pairs.items():
        assert mine.grad is not None
        assert mine.grad.abs().max() > 1e-4, name
        torch.testing.assert_close(other.grad, mine.grad, rtol=1e-4, atol=1e-6)


def test_a_peer_sleeps_but_for_its_windows_and_says_what_it_did_in_each(
    bench: Module, data: Callable[[str], Path]
) -> None:
    peer = """
import time
from peers.session import Session
session = Session()
print("what libraries print is no answer")
while not session.step(100):
    time.sleep(0.01)
"""
    told = order(bench, data=str(data("banking77").parent), measure="throughput", max_steps=1)
    command = [sys.executable, "-c", peer, told.text()]
    process = subprocess.Popen(
        command, cwd=ROOT / "bench", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["startup_seconds"] > 0
    for _ in range(2):
        process.stdin.write("window 0.2\n")
        process.stdin.flush()
        found = json.loads(process.stdout.readline())
        assert 0.2 <= found["seconds"] < 2
        assert found["tokens"] == 100 * found["steps"] > 0
    process.stdin.close()
    assert process.wait(timeout=10) == 0
    assert process.stdout.read() == ""
    process.stdout.close()


def test_every_peer_has_its_module_and_exact_pins(bench: Module) -> None:
    for peer in bench("peers.catalogue").PEERS.values():
        assert (ROOT / "bench" / "peers" / f"{peer.name}.py").is_file()
        pins = (ROOT / "bench" / "environments" / f"{peer.environment}.txt").read_text().split()
        assert pins
        assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
        assert not any(pin.startswith("torch==") for pin in pins)
        assert peer.tasks
    assert "torch==2.13.0" in (ROOT / "bench" / "environments" / "base.txt").read_text().split()


def test_all_measurements_have_files_of_their_own_and_those_that_are_there_are_skipped(
    bench: Module, tmp_path: Path
) -> None:
    side = bench("side_by_side")
    place = side.Place(tmp_path, tmp_path, None, tmp_path, side.Quiet(tmp_path, tmp_path / "first.json"))
    jobs = [*side.throughput_jobs(place), *side.quality_jobs(place)]
    files = [job.file(tmp_path) for job in jobs]
    assert len(set(files)) == len(files)
    counts = {name: planned for name, _, planned in bench("report").counted([], [], [])}
    assert sum(counts.values()) == len(files)
    for file in files:
        bench("evidence").write(file, {})
    assert bench("evidence").carry_out(jobs, tmp_path, minutes=0, models=None) == 0


def test_what_takes_longest_is_measured_last(bench: Module, tmp_path: Path) -> None:
    side = bench("side_by_side")
    place = side.Place(tmp_path, tmp_path, None, tmp_path, side.Quiet(tmp_path, tmp_path / "first.json"))
    late = [job.file(Path()).as_posix() for job in side.throughput_jobs(place) if side.takes_long(job)]
    assert late == ["throughput/e2e-nlg/documented.json"]
    writers = {"adaptune", "bucketed_loop", "trainer_peft", "trl"}
    assert {job.peer for job in side.quality_jobs(place) if side.takes_long(job)} == {"setfit", *writers}


def test_without_the_data_sets_it_says_what_to_set(
    bench: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["side_by_side.py", "quality"])
    for value in ("", str(tmp_path / "nowhere")):
        monkeypatch.setenv("ADAPTUNE_DATA", value)
        with pytest.raises(SystemExit, match="ADAPTUNE_DATA must name the folder"):
            bench("side_by_side").main()


def test_a_machine_that_has_become_slower_is_not_measured_on(bench: Module, tmp_path: Path) -> None:
    quiet = bench("quiet")
    speeds = iter([100e9, 90e9, 80e9])

    class Known(quiet.Quiet):
        __slots__ = ()

        def calibrate(self) -> float:
            return next(speeds)

    known = Known(tmp_path, tmp_path / "results" / "first.json")
    assert known.check(load=False) == (100e9, None)
    assert known.check(load=False) == (90e9, None)
    speed, reason = known.check(load=False)
    assert speed == 80e9
    assert reason is not None
    assert "80 GFLOP/s, and ran at 100 the first time" in reason


def test_the_page_shows_medians_shares_seconds_and_what_is_missing(bench: Module, tmp_path: Path) -> None:
    write, results = bench("evidence").write, tmp_path / "results"
    machine = {"processor": "Some CPU", "cores": 2, "memory_gb": 24, "threads": 2}
    sizes = {"startup_seconds": 4.2, "peak_memory_mb": 900, "environment_mb": 1100, "of_it_torch_mb": 800}
    write(
        results / "throughput" / "banking77" / "tuned.json",
        {
            "task": "banking77",
            "setting": "tuned",
            "machine": machine,
            "failed": 0,
            "busy": False,
            "window_seconds": 10.0,
            "limit": {"operations_per_second": [100e9, 101e9, 99e9], "operations_per_token": 5e6},
            "peers": {
                "adaptune": {"tokens_per_second": [9000.0, 10000.0, 11000.0], **sizes},
                "trainer_peft": {"tokens_per_second": [4000.0, 5000.0, 6000.0], **sizes},
            },
        },
    )
    for system, last, capped in (("adaptune", 0.90, False), ("trainer_peft", 0.80, True), ("setfit", 0.60, False)):
        write(
            results / "quality" / "banking77" / f"{system}-tuned-seed1.json",
            {
                "system": system,
                "task": "banking77",
                "setting": "tuned",
                "seed": 1,
                "learning_rate": 0.004,
                "machine": machine,
                "rows": {"train": 1000, "valid": 500},
                "valid": last,
                "test": {"accuracy": last},
                "interval": {"low": last - 0.01, "high": last + 0.01},
                "counts": [[1, 1]] * 9 + [[0, 1]],
                "curve": [
                    {"seconds": 20.0, "score": 0.5, "step": 0},
                    {"seconds": 61.0, "score": last, "step": 40},
                ],
                "seconds": 61.0,
                "peak_memory_mb": 1000.0,
                "capped": capped,
                "busy": False,
            },
        )
    report = bench("report")
    page = "".join(report.sections(results, tmp_path / "bench"))
    assert "| adaptune | 10,000 (9,000 to 11,000), 50 % |" in page
    assert "| transformers Trainer + peft | 5,000 (4,000 to 6,000), 25 % |" in page
    assert "| adaptune | tuned by us | 0.004 | 1 | 90.00 | 90.00 (89.0 to 91.0) | 61 | 61 | 1,000 |" in page
    assert "| 61 | 61 (cut off) |" in page
    assert "| not reached by 1 | 61 |" in page
    assert "Cut off by the time limit: transformers Trainer + peft on banking77, tuned by us (seed 1)." in page
    assert "Throughput, by task and setting: 1 of 18 are there." in page
    assert "- 3 windows of 10 s of a system, and not 5 of 20 s: banking77." in page
    assert "| without dropout, Trainer tuned | 2.00 |" in page
    assert "| without dropout, Trainer tuned | 1.00 |" in page  # the same memory
    assert "| banking77 | tuned | 79.20 | 61 | 61 | 1.00 |" in page
    assert "Geometric mean of the ratios, the best of each task: 1.00." in page
    assert "Geometric mean of the ratios, adaptune in all layers, pairs read together: 1.00." in page
    assert "| banking77 | tuned | 1 | 1,000 | 50.00 after 20 s | 90.00 | +40.00 |" in page
    assert "adaptune, tuned by us - transformers Trainer + peft: +10.00 points" in page
    for picture in re.findall(r"\]\((.*?)\)", page):
        assert (tmp_path / picture).is_file()
    assert len(list((tmp_path / "bench").iterdir())) == 4


def test_rows_are_left_out_evenly_in_trainings_alone(bench: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = bench("peers.rows")
    parts = {part: [rows.Row(f"{part} {number}", "a") for number in range(10)] for part in rows.PARTS}
    monkeypatch.setitem(rows.TASKS, "banking77", replace(rows.TASKS["banking77"], read=lambda _: parts))
    kept = order(bench, most_rows=4).rows()
    assert [row.text for row in kept["train"]] == ["train 0", "train 2", "train 5", "train 7"]
    assert [row.text for row in kept["valid"]] == ["valid 0", "valid 5"]
    assert kept["test"] == parts["test"]
    assert order(bench).rows() == parts


def test_dropout_alone_is_off_between_documented_and_tuned(bench: Module) -> None:
    reading, trainer = bench("peers.reading"), bench("peers.trainer_peft")
    settings = {setting: order(bench, setting=setting) for setting in bench("peers.catalogue").WINDOWS}
    assert {name: reading.lora(one).lora_dropout for name, one in settings.items()} == {
        "documented": 0.1,
        "padded": 0.0,
        "tuned": 0.0,
    }
    grouped = {name: str(trainer.arguments(one, "out", 64).train_sampling_strategy) for name, one in settings.items()}
    assert grouped == {"documented": "random", "padded": "random", "tuned": "group_by_length"}


def test_batches_of_the_guide_are_padded_to_one_length(bench: Module, tiny_bert: Path) -> None:
    rows, trainer, reading = bench("peers.rows"), bench("peers.trainer_peft"), bench("peers.reading")
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    literal = [rows.Row(text, label) for text, label in LITERAL["banking77"]]
    reader = reading.Reader(tokenizer, "classify", literal, standardised=False)
    told = order(bench, peer="guide_batches", setting="documented")
    assert trainer.collator(reader, told)(reader.features(literal))["input_ids"].shape == (4, 128)
    assert trainer.arguments(told, "out", 64).per_device_train_batch_size == 16


def test_real_tokens_are_counted_in_training_alone_however_they_are_given(bench: Module) -> None:
    class Whole(torch.nn.Module):
        def forward(self, features: dict[str, torch.Tensor] | None = None, **given: torch.Tensor) -> None:
            return None

    whole = Whole()
    meter = bench("peers.session").Meter(whole)
    padded = {"input_ids": torch.ones(2, 3), "attention_mask": torch.tensor([[1, 1, 1], [1, 0, 0]])}
    whole(**padded)
    whole(padded)
    whole.eval()
    whole(**padded)
    whole.train()
    assert meter.read() == 8
    whole(input_ids=torch.ones(1, 5))
    assert meter.read() == 5


def test_an_inside_tag_without_its_entity_begins_one(bench: Module) -> None:
    tags = ["I-place", "I-place", "O", "B-person", "I-place", "I-person", "O"]
    assert bench("final_scores").begun(tags) == (
        "B-place",
        "I-place",
        "O",
        "B-person",
        "B-place",
        "B-person",
        "O",
    )


def test_texts_are_scored_by_the_probability_of_their_tokens(bench: Module) -> None:
    task, row = bench("peers.rows").TASKS["e2e-nlg"], bench("peers.rows").Row("", "")
    found = bench("final_scores").scored(task, [row, row], [[-2.0, 3], [-4.0, 1]])
    assert found["test"] == {"token_probability": pytest.approx(math.exp(-6 / 4))}
    assert found["counts"] == [[-2.0, 3.0], [-4.0, 1.0]]


def test_texts_are_learned_in_batches_of_as_many_rows_by_all(bench: Module, tmp_path: Path) -> None:
    order = partial(bench("peers.session").Order, model="some/model", data="", seed=1, started=0.0)
    tuned, documented = (order("adaptune", "e2e-nlg", setting, "quality") for setting in ("tuned", "documented"))
    arguments = bench("peers.trainer_peft").arguments
    assert [arguments(one, str(tmp_path), 80).per_device_train_batch_size for one in (tuned, documented)] == [8, 32]
    assert arguments(order("trainer_peft", "sst2", "tuned", "quality"), str(tmp_path), 80).max_steps == 3
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.jsonl").touch()
    recipes = [bench("peers.adaptune").recipe_of(one, tmp_path) for one in (tuned, documented)]
    assert [recipe.train.batch_rows for recipe in recipes] == [8, 64]
    features = [{"input_ids": [1] * length} for length in (5, 6, 7, 8, 9)]
    pieces = bench("peers.bucketed_loop").plan(features, random.Random(1), 2)
    assert sorted(len(piece) for piece in pieces) == [1, 2, 2]


def test_adaptune_is_measured_in_three_ways(bench: Module, tmp_path: Path) -> None:
    order, recipe_of = bench("peers.session").Order, bench("peers.adaptune").recipe_of
    ways = ("adaptune", "adaptune_apart", "adaptune_upper")
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.jsonl").touch()
    by_peer = {}
    for peer in ways:
        one = order(peer, "stsb", "documented", "quality", model="some/model", data="", seed=1, started=0.0)
        by_peer[peer] = recipe_of(one, tmp_path)
    assert [recipe.task.name for recipe in by_peer.values()] == ["regress", "match", "regress"]
    assert [recipe.method.skip_layers for recipe in by_peer.values()] == [0, 0, 2]
    assert set(bench("ratios").OWN) == set(ways)


def test_a_learning_rate_is_chosen_by_what_was_tried(bench: Module, tmp_path: Path) -> None:
    side_by_side = bench("side_by_side")
    place = side_by_side.Place(tmp_path, tmp_path, None, tmp_path, quiet=None, most_rows=1000)

    def chosen(scores: dict[float, float], **changed: Any) -> float:
        training = side_by_side.Training(replace(place, **changed), "trainer_peft", "banking77", "tuned")
        for rate, score in scores.items():
            file = training.trial_file(tmp_path, rate)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"curve": [{"score": 0.9}, {"score": score}]}))
        found: float = training.rate(tmp_path)
        return found

    assert chosen({0.002: 0.3, 0.004: 0.7, 0.008: 0.5}) == 0.004
    assert chosen({0.002: 0.7, 0.004: 0.698, 0.008: 0.696}) == 0.008, "less than a point apart"
    assert chosen({0.002: 0.0, 0.004: 0.0, 0.008: 0.0}) == 0.004, "none has learned anything"
    assert chosen({0.002: 0.3, 0.004: 0.5, 0.008: 0.7}, most_rows=None) == 0.004, "on all rows half of it"


def test_operations_are_counted_in_one_group_each_and_told_as_shares(bench: Module) -> None:
    profiling, profiles = bench("peers.profiling"), bench("profiles")
    groups = {
        "aten::addmm": "matrix products",
        "aten::_scaled_dot_product_flash_attention_for_cpu_backward": "attention",
        "aten::gelu_backward": "activation",
        "Optimizer.step#AdamW.step": "optimizer and clipping",
        "aten::copy_": "sums, products, copies",
        "AddmmBackward0": None,
    }
    assert {name: profiling.group_of(name) for name in groups} == groups
    events = [SimpleNamespace(key=key, self_cpu_time_total=2e5) for key in groups]
    shares = profiling.shares(events, 2.0)
    assert shares["attention"] == pytest.approx(0.1)
    assert shares[profiling.REST] == pytest.approx(0.5)
    assert sum(shares.values()) == pytest.approx(1)
    assert profiles.profiled([]) == ""
    page = profiles.profiled([{"task": "banking77", "system": "adaptune", "shares": shares}])
    assert "| banking77 | adaptune |" in page
    assert "| attention | 10.0 % |" in page
