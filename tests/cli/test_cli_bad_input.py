"""Bad input gets one or two plain lines, an exit code of the contract, and nothing half-written."""

from __future__ import annotations

from inspect import signature
from pathlib import Path

import pytest
from pydantic_core import SchemaError

from resnet_repro import cli
from resnet_repro.base.errors import ReproError
from resnet_repro.cli.data import data_app

NO_DATA = ("--data-dir", "nowhere")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "fig9"], 2, "did you mean fig7"),
        (["status", "--preset", "short"], 2, "go with an experiment: resnet-repro status fig1"),
        (["show", "tabel6"], 2, "table6"),
        (["run", "table6", "--networks", "resnet-21"], 2, "nearest: 20, 26"),
        (["run", "fig1", "--networks", "resnet-20"], 2, "fig1 has no network resnet-20"),
        (["run", "fig1", "--networks", "resnet-50"], 2, "fig1 has no network resnet-50"),
        (["run", "fig1", "--networks", ""], 2, "unknown network"),
        (["run", "fig1", "--seeds", "x"], 2, "--seeds 'x'"),
        (["run", "fig1", "--seeds", "0"], 2, "--seeds 0"),
        (["run", "fig1", "--seeds", "1,1"], 2, "different"),
        (["run", "fig1", "--seeds", "9" * 200], 2, "--seeds"),
        (["run", "fig1", "--preset", "shrot"], 2, "short"),
        (["run", "fig1", "--dataset", "mnist"], 2, "cifar10"),
        (["run", "fig1", "--precision", "fp8"], 2, "--precision"),
        (["run", "fig1", "--device", "tpu", "--preset", "demo"], 2, "auto, cpu, cuda"),
        (["run", "fig1", "--device", "gpu", "--dry-run"], 2, "auto, cpu, cuda"),
        (["run", "fig1", "--device", "cuda:99", "--preset", "demo"], 2, "cuda:99"),
        (["run", "fig1", "--time-budget", "soon"], 2, "25m"),
        (["run", "fig1", "--checkpoint-every", "0"], 2, "duration"),
        (["run", "fig1", "--set", "foo"], 2, "recipe.batch_size=64"),
        (["run", "fig1", "--set", "recipe.foo=1"], 2, "recipe.foo: unknown key"),
        (["run", "fig1", "--set", "recipe.learnig_rate=1"], 2, "mean recipe.learning_rate?"),
        (["run", "fig1", "--set", "learning_rate=1"], 2, "did you mean recipe.learning_rate?"),
        (["run", "fig1", "--set", "recipe.batch_size=[1"], 2, "not valid YAML"),
        (["run", "fig1", "--set", "recipe.iterations=0"], 2, "recipe.iterations"),
        (["run", "fig1", "--set", "recipe.iterations=" + "1" * 200], 2, "recipe.iterations"),
        (["run", "fig1", "--set", "recipe.learning_rate=-0.1"], 2, "recipe.learning_rate"),
        (["run", "fig1", "--set", "recipe.learning_rate=.nan"], 2, "recipe.learning_rate"),
        (
            ["run", "fig1", "--set", "recipe.iterations=30"],
            2,
            "fig1.yaml with --set recipe.iterations=30: milestones: 48000 is not before the end",
        ),
        (
            ["run", "fig1", "--set", "dataset=imagenet", "--set", "recipe.momentum=0.8"],
            2,
            "with --set dataset=imagenet --set recipe.momentum=0.8: network: plain-20 is a CIFAR",
        ),
        (["run", "fig1", "--set", "name=../escape"], 2, "name"),
        (["run", "fig1", "--set", "name=mine", "--dry-run"], 2, "change it in a copy"),
        (["run", "fig1", "--set", "runs.0.networks=[resnet-8]"], 2, "fig1 would have no resnet-8"),
        (["run", "fig1", "--set", "recipe.milestones=5"], 2, "should be a list, as in [1, 2]"),
        (["run", "fig1", "--set", "recipe.augmentation=none"], 2, "should be a mapping"),
        (["run", "."], 2, "a folder, not an experiment"),
        (["doctor", "--device", "tpu"], 2, "auto, cpu, cuda"),
        (["bench", "--networks", "resnet-20,vgg-19"], 2, "vgg-19"),
        (["run", "fig1", "--set", "runs.7.seeds=1"], 2, "no item 7"),
        (["run", "fig1", "--set", "runs=[]", "--set", "runs.0.seeds=1"], 2, "the list is empty"),
        (["run", "fig1", *NO_DATA], 3, f"cifar10 --download {' '.join(NO_DATA)}`"),
        (
            ["run", "fig1", "--preset", "demo", "--set", "recipe.batch_size=60000"],
            2,
            "10000 training images",
        ),
        (["table", "fig7"], 2, "plot fig7"),
        (["plot", "network:googlenet"], 2, "googlenet"),
        (["plot", "table6"], 2, "table table6"),
        (["plot", "fig1"], 1, "resnet-repro run fig1"),
        (["table", "table6", "--format", "pdf"], 2, "--format"),
        (["data", "prepare", "cifar11"], 2, "cifar10"),
        (["data", "prepare", "cifar10", "--from", "nowhere"], 3, "nowhere"),
        (["data", "verify", "cifar10", *NO_DATA], 3, "no CIFAR-10"),
    ],
)
def test_is_named_in_a_line_or_two(command, tmp_path, arguments, code, says) -> None:
    answer = command(*arguments)
    assert answer.code == code, answer
    assert says in answer.err
    assert 1 <= len(answer.err.strip().splitlines()) <= 2
    assert all(len(line) < 300 for line in answer.err.splitlines())
    assert "Traceback" not in answer.err
    assert not answer.out
    assert not (tmp_path / "results").exists(), "nothing half-written"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: mine\n  bad: [", "line 2: not valid YAML"),
        ("- a list", "should be a mapping"),
        ("", "should be a mapping"),
        ("name: mine\ntitle: t\nrns: []\n", "line 3: rns: unknown key"),
        (
            "name: mine\ntitle: t\nrecipe: {iterations: 30}\nruns:\n  - networks: [resnet-20]\n",
            "line 3: recipe: milestones: 48000 is not before the end",
        ),
        (
            "name: mine\ntitle: t\nruns:\n  - networks: [resnet-20]\n    recipe:\n"
            "      batch_sise: 3\n",
            "line 6: runs.0.recipe.batch_sise: unknown key",
        ),
        (
            "name: mine\ntitle: t\nruns:\n  - networks: [resnet-21]\n",
            "line 4: runs.0.networks: unknown network",
        ),
        ("name: mine\ntitle: t\nruns:\n  - networks: [resnet-50]\n", "is an ImageNet network"),
        ("name: mine\nname: yours\ntitle: t\n", "stands twice"),
        (
            "name: mine\ntitle: t\ndataset: imagenette\nmeasure: [gradients]\nruns:\n"
            "  - networks: [vgg-16]\nplot: {kind: gradients}\n",
            "line 4: measure: gradients is not of vgg-16",
        ),
        (
            "name: mine\ntitle: t\nruns: [{networks: [resnet-20]}]\npresets:\n"
            "  demo: {networks: [resnet-56]}\n",
            "line 5: presets.demo.networks: resnet-56 is not among the runs",
        ),
        (
            "name: mine\ntitle: t\nruns: [{networks: [resnet-20]}]\npresets:\n"
            "  demo: {networks: [resnet-21]}\n",
            "line 5: presets.demo.networks: unknown network",
        ),
        ("name: bench-loader\ntitle: t\n", "line 1: name: the CSVs of `resnet-repro bench` are"),
        ("format: 2\nrun: {network: resnet-20}\n", "run.dataset"),
    ],
)
def test_yaml_mistakes_name_file_line_and_field(command, tmp_path: Path, text, says) -> None:
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    answer = command("run", "mine.yaml")
    assert answer.code == 2
    assert "mine.yaml" in answer.err
    assert says in answer.err
    assert len(answer.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("recipe: {batch_sise: 3}", "line 8: presets.short.recipe.batch_sise: unknown key"),
        ("pretraining: {recipe: {momentun: 1}}", "presets.short.pretraining.recipe.momentun: unk"),
    ],
)
def test_mistakes_in_what_a_preset_brings_are_named_there(
    command, tmp_path: Path, more: str, says: str
) -> None:
    text = (
        "name: mine\ntitle: t\nrecipe: {weight_decay: 0.001}\ndataset: scenes\n"
        "runs: [{networks: [faster-rcnn-resnet-18-b]}]\npretraining: {dataset: imagenette}\n"
        f"presets:\n  short: {{{more}}}\n"
    )
    (tmp_path / "mine.yaml").write_text(text, "utf-8")
    answer = command("run", "mine.yaml", "--preset", "short")
    assert (answer.code, says in answer.err) == (2, True), answer.err


def test_a_file_without_its_ending_is_offered(command, tmp_path: Path) -> None:
    (tmp_path / "lesson.yml").write_text("name: lesson", encoding="utf-8")
    answer = command("table", "lesson")
    said = "unknown experiment 'lesson': did you mean lesson.yml?"
    assert (answer.code, answer.err.strip().endswith(said)) == (2, True)


@pytest.mark.parametrize("flag", ["-v", "--verbose", "-qv", "-vq"])
def test_verbose_shows_the_traceback(command, flag: str) -> None:
    with pytest.raises(Exception, match="unknown experiment"):
        command("run", "fig9", flag)


@pytest.mark.parametrize(
    "words",
    [
        "show fig9",
        "status fig9",
        "table fig9",
        "plot fig9",
        "detect fig9 a.png",
        "bench --networks x",
    ],
)
def test_every_command_shows_the_traceback_if_asked_to(command, words: str) -> None:
    assert command(*words.split()).code in (1, 2)
    with pytest.raises(ReproError):
        command(*words.split(), "-v")


def test_no_command_refuses_to_show_tracebacks() -> None:
    named = {info.name or info.callback.__name__: info for info in cli.app.registered_commands}
    named |= {f"data {info.name}": info for info in data_app.registered_commands}
    without = {
        n for n, info in named.items() if "verbose" not in signature(info.callback).parameters
    }
    assert without == {"train_run"}, "which is hidden"


def test_unwritable_results_folder(command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    text = "name: cost\ntitle: One network\ntable: {kind: cost, networks: [plain-20]}\n"
    (tmp_path / "cost.yaml").write_text(text, encoding="utf-8")
    answer = command("run", "cost.yaml", "--results", "file/results")
    assert answer.code == 1
    assert "cannot write" in answer.err
    assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code"), [("literal: KeyboardInterrupt:", 130), ("literal: ValueError:", None)]
)
def test_ctrl_c_while_pydantic_prepares_a_model_is_an_interruption(
    monkeypatch: pytest.MonkeyPatch, error: str, code: int | None
) -> None:
    def app(**_: object) -> None:
        raise SchemaError(error)

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit if code else SchemaError) as ended:
        cli.main()
    assert getattr(ended.value, "code", None) == code


def test_ctrl_c_is_told_whatever_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("resnet_repro.spec.loading.load_experiment", interrupted)
    monkeypatch.setattr("sys.argv", ["resnet-repro", "plot", "fig1"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "resnet-repro: interrupted\n"
