"""What results record of the command line: nothing about who ran it where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from resnet_repro.cli import app
from resnet_repro.spec.recorded_command import (
    FLAGS,
    VALUES,
    chosen_fields,
    command_line,
    recorded_again,
)

SECRETS = (
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "https://alice:hunter2@host.example/x",
    "10.0.0.7:6379",
    "/home/alice",
    "alice@host.example",
    "export WANDB_API_KEY=0123456789abcdef",
)


def test_what_decided_the_results_stays() -> None:
    for typed in (
        "run fig6 table6 --preset short --networks plain-20,resnet-34-b --seeds 1,2 --force",
        "run mine.yaml --set recipe.weight_decay=0.0005 --precision=fp32 --device cuda:1 -j 4",
        "run table2 --dataset imagenette --time-budget 1h30m --checkpoint-every 5m --jobs auto",
        "evaluate resnet50.pth --network resnet-50-v1.5 --crops 1,10,multi --mean 1,2.5,3 --record",
        "evaluate resnet-18-a-imagenette-short-s0 --input paper --crop 96 -qv",
        "evaluate preact-110-cifar10-paper-s0-0d920dd4",
        "evaluate resnet56.th --network resnet-56 --dataset cifar10 --input 0-1 --padding both",
        "evaluate resnet56.th --network resnet-56 --dataset cifar10 --input=paper-0-1",
        "run faster-rcnn-resnet-18-a-voc07-12-short-s0-0d920dd4/config.yaml",
        "run fig6 --launcher ray --gpus-per-run .5 --time-budget 1.5h",
        "run path --set path.to=resnet-20-cifar10-short-s1 --set surface.limit=0.5",
        "run table7 --set pretraining.preset=short --set curvature.images=100",
    ):
        assert command_line(typed.split()) == f"resnet-repro {typed}"
    listed = ["run", "fig1", "--set", "recipe.milestones=[1, 2]"]
    assert command_line(listed) == "resnet-repro run fig1 --set 'recipe.milestones=[1, 2]'"
    assert recorded_again(command_line(listed)) == command_line(listed)


def test_the_fields_that_were_chosen_are_read_from_a_command() -> None:
    typed = (
        *("run", "surface", "--time-budget", "1h", "--set", "surface.points=[25, 25]"),
        "--set=surface.images=2000",
    )
    fields = ["surface.points=[25, 25]", "surface.images=2000"]
    assert chosen_fields(command_line(typed)) == fields
    assert chosen_fields("resnet-repro run 'fig1 --set surface.images=1") == ["surface.images=1"]
    assert chosen_fields("resnet-repro run fig1") == []
    for hidden in ("recipe.note=$(whoami)", "surface.points=... --set path.yaml"):
        assert chosen_fields(command_line([*typed, "--set", hidden])) is None


def test_places_people_and_machines_do_not() -> None:
    def kept(*typed: str) -> str:
        return command_line(["run", "fig1", *typed]).removeprefix("resnet-repro run fig1 ")

    assert kept("--data-dir", "/home/alice/data") == "--data-dir ..."
    assert kept("--results=~alice") == "--results=..."
    assert kept("--dataset", "folder:/home/alice/birds/") == "--dataset folder:birds"
    assert kept("--dataset", "folder:/home/<b>") == "--dataset folder:..."
    assert kept("--launcher", "ray:10.0.0.7:6379") == "--launcher ray:..."
    assert kept("--launcher=slurm") == "--launcher=slurm"
    for private in ("node7.host.example", "0123456789abcdef", "alice s house"):
        for option in ("--preset", "--device", "--jobs", "-j", "--time-budget", "--input"):
            assert kept(option, private) == f"{option} ..."
        assert kept(f"-j{private}") == "-j..."
    slurm = {
        "setup=export TOKEN=abc": "setup=...",
        "mail-user=alice@host.example": "mail-user=...",
        "comment=for alice": "comment=...",
        "partition=alices": "partition=...",
        "account=alice": "account=...",
        "export=ALL,KEY=abc": "export=...",
        "time=4:00:00": "time=4:00:00",
        "mem=32G": "mem=32G",
        "gpus-per-node=1": "gpus-per-node=1",
        "time=$(secret)": "time=...",
        "a secret": "...",
    }
    for typed, shown in slurm.items():
        assert kept("--slurm", typed) == f"--slurm {shown}"
    run = "plain-20-cifar10-short-s0-0d920dd4"
    assert kept(f"/home/alice/results/runs/{run}/config.yaml") == f"{run}/config.yaml"
    assert kept("/home/alice/mine.yaml", "/home/alice", "alice") == "mine.yaml ... ..."


def test_an_old_record_is_cut_down_when_it_is_shown() -> None:
    old = "resnet-repro run fig1 --data-dir alice --slurm setup=export TOKEN=abc -u alice ghp_a1"
    shown = recorded_again(old)
    assert shown == "resnet-repro run fig1 --data-dir ... --slurm setup=... ... ... ... ..."
    assert recorded_again("it's torn") == "resnet-repro ... ..."


@given(
    st.lists(
        st.one_of(
            st.text(max_size=20),
            st.sampled_from([*VALUES, *FLAGS, "run", "fig1", "-j", "-jx"]),
            st.sampled_from(SECRETS),
            st.tuples(st.sampled_from([*VALUES, "setup"]), st.sampled_from(SECRETS)).map("=".join),
        ),
        max_size=8,
    )
)
def test_nothing_else_ever_passes(arguments: list[str]) -> None:
    shown = command_line(arguments)
    assert shown.isascii()
    assert shown.isprintable()
    for secret in ("ghp_", "hunter2", "10.0", "alice", "home", "0123456789abcdef", "<", "`", "|"):
        assert secret not in shown or secret in "".join(FLAGS)


@pytest.mark.parametrize("name", ["run", "evaluate"])
def test_somebody_has_decided_about_every_option(name: str) -> None:
    group: Any = typer.main.get_command(app)
    for parameter in group.commands[name].params:
        if parameter.param_type_name == "option" and parameter.name != "help":
            for option in (*parameter.opts, *parameter.secondary_opts):
                known = FLAGS if parameter.is_flag else VALUES
                assert option in known, f"{option}: may results show its value?"


def test_what_is_handed_to_slurm_stays_private(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    from resnet_repro.launch.slurm import _executor
    from resnet_repro.launch.where import Where
    from resnet_repro.store.store import Store

    _executor(Where("slurm-local"), Store(tmp_path))
    folder = tmp_path / ".slurm"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / ".gitignore").read_text(encoding="utf-8") == "*\n"


@pytest.mark.usefixtures("few_synthetic")
def test_a_run_records_no_more_than_that(tmp_path: Path, command: Any) -> None:
    experiment = tmp_path / "mine.yaml"
    experiment.write_text(
        "name: mine\ntitle: Mine\ndataset: synthetic\nprecision: fp32\n"
        "recipe: {iterations: 2, batch_size: 8, milestones: [], evaluate_every: 2}\n"
        "runs: [{networks: [resnet-8]}]\ntable: {kind: errors}\n",
        encoding="utf-8",
    )
    home = tmp_path / "alice"
    code, _, err = command(
        "run", experiment, "--results", home / "out", "--data-dir", home, "--device=cpu"
    )
    assert code == 0, err
    (summary,) = (home / "out" / "runs").glob("*/summary.json")
    text = summary.read_text(encoding="utf-8")
    recorded = json.loads(text)["provenance"]["command"]
    assert recorded == "resnet-repro run mine.yaml --results ... --data-dir ... --device=cpu"
    assert "alice" not in text
