"""`resnet-repro evaluate FILE`: somebody else's weights."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from evaluation_pictures import photograph, random_network
from torch import Tensor, nn
from torchvision import models, transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import functional as tf

from resnet_repro.networks.network import build_network
from resnet_repro.store.models import ExternalEvaluation
from resnet_repro.store.store import Store

pytestmark = pytest.mark.usefixtures("narrow")

NORMALIZE = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CROP, SIDE = 64, 73  # 256 * 64 / 224, rounded


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A network of three classes, as torchvision would have it."""
    return random_network("resnet-18-b", 3)


@pytest.fixture
def weights(network: nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "r18.pth"
    torch.save(network.state_dict(), path)
    return path


def asked(folder: Path, *more: object, network: str = "resnet-18-b") -> tuple[object, ...]:
    """Options for testing on the folder, quickly."""
    return (
        *("--network", network, "--dataset", f"folder:{folder}", "--data-dir", "data"),
        *("--crop", CROP, "--precision", "fp32", *more),
    )


def textbook(
    network: nn.Module,
    folder: Path,
    crops: int,
    normalize: nn.Module,
    crop: int = CROP,
    side: int = SIDE,
) -> dict[str, float]:
    """Errors as any tutorial computes them: torchvision's transforms, one image at a time."""
    resize = transforms.Resize(side)
    images = ImageFolder(str(folder / "val"), resize)
    found, labels = [], []
    with torch.no_grad():
        for image, label in images:
            views = [tf.center_crop(image, [crop, crop])]
            if crops == 10:
                views = [v for c in tf.five_crop(image, [crop, crop]) for v in (c, tf.hflip(c))]
            x = torch.stack([normalize(tf.to_tensor(view)) for view in views])
            found.append(network(x).softmax(1).mean(0))
            labels.append(label)
    scores, target = torch.stack(found), torch.tensor(labels)
    wrong = (scores.argmax(1) != target).double().mean().item()
    return {"top1_error": 100 * wrong, "loss": F.nll_loss(scores.log(), target).item()}


def assert_measured(row: dict[str, Any], expected: dict[str, float]) -> None:
    assert row["top1_error"] == pytest.approx(expected["top1_error"])
    assert row["loss"] == pytest.approx(expected["loss"], rel=1e-4)


def test_errors_are_those_of_torchvisions_own_recipe(
    command, folder: Path, weights: Path, network: nn.Module
) -> None:
    answer = command("evaluate", weights, *asked(folder, "--crops", "1,10", "--json"))
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert [row["views"] for row in found["evaluations"]] == ["centre", "10-crop"]
    for row, crops in zip(found["evaluations"], (1, 10), strict=True):
        assert row["images"] == 7
        assert row["top5_error"] == 0  # there are three classes
        assert_measured(row, textbook(network, folder, crops, NORMALIZE))
    assert "torchvision" in found["input"]
    assert not Path("results").exists(), "nothing is stored unasked"


def test_alexnets_crops_are_of_a_shorter_side_of_256(
    command, folder: Path, tmp_path: Path, weights: Path, network: nn.Module
) -> None:
    alexnet = build_network("alexnet", 3).eval()
    torch.save(alexnet.state_dict(), tmp_path / "alex.pth")
    more = ("--crop", 227, "--json")
    answer = command("evaluate", "alex.pth", *asked(folder, *more, network="alexnet"))
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert_measured(found["evaluations"][0], textbook(alexnet, folder, 1, NORMALIZE, 227, 256))
    assert found["input"].endswith("; crop 227 of a shorter side of 256")
    answer = command("evaluate", weights, *asked(folder, "--crop", 227, "--json"))
    found = json.loads(answer.out)
    assert_measured(found["evaluations"][0], textbook(network, folder, 1, NORMALIZE, 227, 259))
    assert found["input"].endswith("; crop 227"), "other networks' sizes are in proportion"


def test_other_inputs(command, folder: Path, weights: Path, network: nn.Module) -> None:
    class Caffe(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return 255 * image - torch.tensor([123.0, 116.0, 103.0])[:, None, None]

    mean = ("--mean", "123,116,103")
    answer = command("evaluate", weights, *asked(folder, "--input", "paper", *mean, "--json"))
    found = json.loads(answer.out)
    assert_measured(found["evaluations"][0], textbook(network, folder, 1, Caffe()))
    assert "123, 116, 103" in found["input"]
    assert any("weights that come from Caffe want blue first" in note for note in found["notes"])

    own = transforms.Normalize([0.5, 0.5, 0.5], [0.229, 0.224, 0.225])
    answer = command("evaluate", weights, *asked(folder, "--mean", "127.5,127.5,127.5", "--json"))
    assert_measured(json.loads(answer.out)["evaluations"][0], textbook(network, folder, 1, own))

    crops = [
        tf.pil_to_tensor(tf.center_crop(image, [CROP, CROP])).double()
        for image, _ in ImageFolder(str(folder / "train"), transforms.Resize(SIDE))
    ]
    average = (torch.stack(crops).mean(0) / 255).float()

    class PerPixel(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return 255 * (image - average)

    answer = command("evaluate", weights, *asked(folder, "--input", "paper", "--json"))
    found = json.loads(answer.out)
    assert_measured(found["evaluations"][0], textbook(network, folder, 1, PerPixel()))
    assert "per-pixel mean" in found["input"]


def test_a_wrapped_state_dict_gives_the_same(
    command, folder: Path, weights: Path, network: nn.Module, tmp_path: Path
) -> None:
    plain = command("evaluate", weights, *asked(folder, "--json"))
    wrapped = {"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}
    torch.save({**wrapped, "epoch": 3}, tmp_path / "wrapped.pth.tar")
    again = command("evaluate", "wrapped.pth.tar", *asked(folder, "--json"))
    assert json.loads(again.out)["evaluations"] == json.loads(plain.out)["evaluations"]


def test_what_is_printed(command, folder: Path, weights: Path) -> None:
    answer = command("evaluate", weights, *asked(folder, "--crops", "multi", "--crop", "32"))
    first, header, row, *rest = answer.out.splitlines()
    assert first == "resnet-18-b, r18.pth: 7 validation images of folder:pictures, fp32"
    assert header.split() == ["views", "top-1", "%", "top-5", "%", "loss"]
    assert row.split()[0] == "multi-scale"
    assert rest[0].startswith("input: 0 to 1, minus the channel means of ImageNet")
    assert any("order of their names" in line for line in rest)
    quiet = command("evaluate", weights, *asked(folder, "--quiet"))
    assert quiet.out.splitlines()[2].startswith("centre ")
    assert not quiet.err


def test_record_keeps_what_was_measured_of_the_same_weights(
    command, folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("evaluate", weights, *asked(folder, "--record")).code == 0
    answer = command("evaluate", weights, *asked(folder, "--record", "--crops", "10"))
    assert "wrote results/evaluations/resnet-18-b-folder-pictures-" in answer.out
    (stored,) = Store(Path("results")).records(ExternalEvaluation)
    assert [row.views for row in stored.evaluations] == ["centre", "10-crop"]
    crops = {views: made.command.count("--crops") for views, made in stored.origins.items()}
    assert crops == {"centre": 0, "10-crop": 1}, "each is on record with its own command"
    assert all(made.hardware and made.versions["torch"] for made in stored.origins.values())
    assert stored.weights_file == "r18.pth"
    assert stored.data["name"] == "folder:pictures"
    assert "torchvision" in stored.input
    assert stored.precision == "fp32"
    assert stored.command.startswith("resnet-repro evaluate r18.pth --network resnet-18-b")
    assert str(folder.parent) not in json.dumps(stored.model_dump(mode="json"))

    monkeypatch.setattr("resnet_repro.measure.views.dense_logits", None)  # it may take hours
    for other in (("--input", "paper"), ("--precision", "bf16")):
        answer = command("evaluate", weights, *asked(folder, "--record", *other))
        assert (answer.code, answer.out) == (1, "")
        said = "has errors of these weights under other conditions (fp32; 0 to 1, minus"
        assert said in answer.err
    assert Store(Path("results")).records(ExternalEvaluation) == [stored], "nor anything replaced"


@pytest.fixture
def imagenettes(folder: Path, tmp_path: Path) -> Path:
    """The photographs as three of Imagenette's classes."""
    root = tmp_path / "three"
    shutil.copytree(folder, root)
    for part in ("train", "val"):
        for index, wnid in enumerate(("n02102040", "n03425413", "n03888257")):
            (root / part / f"class-{index}").rename(root / part / wnid)
    return root


def test_imagenettes_classes_among_imagenets(
    command, imagenettes: Path, network: nn.Module, tmp_path: Path
) -> None:
    """Weights of 1,000 classes that, of the three, know what the smaller network knows."""
    state = dict(network.state_dict())
    generator = torch.Generator().manual_seed(0)
    for name in ("fc.weight", "fc.bias"):
        wide = torch.randn(1000, *state[name].shape[1:], generator=generator) * 5
        wide[[217, 571, 701]] = state[name]
        state[name] = wide
    torch.save(state, tmp_path / "wide.pth")
    answer = command("evaluate", "wide.pth", *asked(imagenettes, "--json"))
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert_measured(found["evaluations"][0], textbook(network, imagenettes, 1, NORMALIZE))
    assert any("only the 3 classes" in note for note in found["notes"])


def test_torchvisions_bottleneck_weights_and_where_the_stride_is(
    command, folder: Path, tmp_path: Path
) -> None:
    torch.save(random_network("resnet-50-v1.5", 3).state_dict(), tmp_path / "r50.pth")
    paper = command("evaluate", "r50.pth", *asked(folder, network="resnet-50"))
    assert paper.code == 0
    assert "--network resnet-50-v1.5" in paper.out
    theirs = command("evaluate", "r50.pth", *asked(folder, network="resnet-50-v1.5"))
    assert "stride" not in theirs.out


def test_a_crop_that_is_too_small_for_the_network_gets_a_line(command, tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = build_network("alexnet", 3).state_dict()
    zeros = {name: torch.zeros(1).expand(value.shape) for name, value in shapes.items()}
    torch.save(zeros, tmp_path / "alex.pth")
    for index in range(3):
        path = tmp_path / "three" / "val" / f"class-{index}" / "0.png"
        path.parent.mkdir(parents=True)
        photograph(40, 30, index).save(path)
    more = asked(tmp_path / "three", "--crops", "1,multi", network="alexnet")
    says = "--crop 66: the smallest input of alexnet has 67 pixels a side"
    assert_one_line(command("evaluate", "alex.pth", *more, "--crop", 66), 2, says)
    assert command("evaluate", "alex.pth", *more, "--crop", 67).code == 0


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        ([], 2, "--network resnet-34-b"),
        (["--network", "resnet-17"], 2, "nearest: 14, 20"),
        (["--network", "resnet-34-b"], 2, "it fits --network resnet-18-b"),
        (["--network", "resnet-20"], 2, "does not fit resnet-20"),
        (["--network", "faster-rcnn-resnet-50"], 2, "is a detector, not a classification network"),
        (["--network", "resnet-18-b", "--dataset", "cifar10"], 2, "does not go with cifar10"),
        (["--network", "resnet-18-b", "--dataset", "synthetic"], 2, "3 classes apart, synthetic"),
        (["--network", "resnet-18-b", "--data-dir", "nowhere"], 3, "imagenet"),
        (["--network", "resnet-18-b", "--dataset", "folder:gone"], 3, "gone"),
        (["--network", "resnet-18-b", "--crops", "5"], 2, "--crops '5'"),
        (["--network", "resnet-18-b", "--crops", ""], 2, "--crops ''"),
        (["--network", "resnet-18-b", "--input", "caffe"], 2, "--input 'caffe'"),
        (["--network", "resnet-18-b", "--mean", "1,2"], 2, "--mean '1,2'"),
        (["--network", "resnet-18-b", "--mean", "1,2,nan"], 2, "--mean '1,2,nan'"),
        (["--network", "resnet-18-b", "--precision", "fp8"], 2, "--precision"),
        (["--network", "resnet-18-b", "--dataset", "mnist"], 2, "mnist"),
        (["--network", "resnet-18-b", "--dataset", "synthetic", "--device", "tpu"], 2, "auto, cpu"),
    ],
)
def test_mistakes_get_a_line(
    command, weights: Path, more: list[str], code: int, says: str, network: nn.Module
) -> None:
    if "tpu" in more:  # what comes before the device has to be right
        torch.save(random_network("resnet-18-b", 10).state_dict(), weights)
    answer = command("evaluate", weights, *more)
    assert_one_line(answer, code, says)
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("gone.pth", "no such file: gone.pth"),
        ("resnet-50-imagenet", "no run or file is called 'resnet-50-imagenet' in results"),
        ("empty", "not the folder of a run"),
        ("a" * 5000, "no run"),
        ("text.pth", "not a whole file of weights"),
        ("harmful.pth", "harmful.pth does not fit"),
    ],
)
def test_targets_that_are_nothing(command, tmp_path: Path, target: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.pth").write_text("hello", encoding="utf-8")
    torch.save({"fc.weight": torch.zeros(2, 2), "x": Harmful()}, tmp_path / "harmful.pth")
    answer = command("evaluate", target, "--network", "resnet-18-b")
    assert_one_line(answer, 2, says)
    assert not (tmp_path / "harm").exists(), "nothing in a file is executed"


def assert_one_line(answer: Any, code: int, says: str) -> None:
    assert answer.code == code, answer
    assert says in answer.err
    assert 1 <= len(answer.err.strip().splitlines()) <= 2
    assert all(len(line) < 400 for line in answer.err.splitlines())
    assert not answer.out


@pytest.mark.parametrize("kind", ["no folder", "torn"])
def test_what_can_not_be_recorded_is_said_before_it_is_measured(
    command, folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    results = weights / "results" if kind == "no folder" else Path("results")
    if kind == "torn":
        (results / "evaluations").mkdir(parents=True)
        (results / "evaluations" / "vgg-16-imagenet-12345678.json").write_text("{", "utf-8")
    monkeypatch.setattr("resnet_repro.measure.views.dense_logits", None)
    more = ("--record", "--results", results)
    answer = command("evaluate", weights, *asked(folder, *more))
    says = "vgg-16-imagenet-12345678.json: torn" if kind == "torn" else "Not a directory"
    assert_one_line(answer, 1, says)


def test_two_that_record_into_a_new_folder_together_do_not_mind_each_other(
    command, folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = tempfile.TemporaryFile

    def meanwhile(dir: Path) -> Any:  # noqa: A002
        (dir / "evaluations").mkdir()
        return trial(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", meanwhile)
    answer = command("evaluate", weights, *asked(folder, "--record"))
    assert (answer.code, len(Store(Path("results")).records(ExternalEvaluation))) == (0, 1)


def test_weights_that_are_refused_leave_no_folders(
    command, folder: Path, weights: Path, tmp_path: Path
) -> None:
    where = ("--record", "--results", tmp_path / "new" / "nested", "--network", "resnet-50")
    assert "fit" in command("evaluate", weights, *asked(folder, *where)).err
    assert not (tmp_path / "new").exists()


def test_errors_that_could_not_be_recorded_are_printed(
    command, folder: Path, weights: Path
) -> None:
    Path("results").mkdir()
    Path("results/evaluations").write_text("no folder", encoding="utf-8")
    answer = command("evaluate", weights, *asked(folder, "--record", "--json"))
    assert answer.code == 1
    assert "cannot write results/evaluations" in answer.err.splitlines()[-1]
    found = json.loads(answer.out)
    assert ([row["views"] for row in found["evaluations"]], found["stored"]) == (["centre"], None)


@pytest.mark.skipif(not hasattr(signal, "SIGINT"), reason="no signals here")
def test_ctrl_c_keeps_the_views_before(
    command, folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnet_repro.measure.views import row_of

    def interrupted(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return row_of(*arguments)

    monkeypatch.setattr("resnet_repro.measure.evaluate.weights.row_of", interrupted)
    answer = command("evaluate", weights, *asked(folder, "--crops", "1,10", "--record"))
    assert answer.code == 130
    assert answer.err.splitlines()[-1] == "resnet-repro: interrupted"
    assert "wrote results/evaluations/resnet-18-b-folder-pictures-" in answer.out
    (stored,) = Store(Path("results")).records(ExternalEvaluation)
    assert [row.views for row in stored.evaluations] == ["centre"]


@pytest.mark.skipif(not hasattr(signal, "SIGINT"), reason="no signals here")
def test_ctrl_c_ends_it_cleanly(
    command, folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnet_repro.networks.fully_convolutional import dense_logits

    passes: list[None] = []

    def interrupted(*arguments: Any) -> Tensor:
        passes.append(None)
        if len(passes) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return dense_logits(*arguments)

    monkeypatch.setattr("resnet_repro.measure.views.dense_logits", interrupted)
    answer = command("evaluate", weights, *asked(folder, "--crops", "multi", "--record"))
    assert answer.code == 130
    assert len(passes) == 2, "a photograph's view and its mirror image"
    assert answer.err.splitlines()[-1] == "resnet-repro: interrupted"
    assert not answer.out
    assert not Path("results").exists()


def test_googlenets_weights_get_the_input_that_torchvisions_program_makes(
    command, folder: Path, tmp_path: Path
) -> None:
    """Its `transform_input` makes halves of ImageNet's means and deviations inside the network."""
    options: dict[str, Any] = {"aux_logits": False, "init_weights": False, "transform_input": True}
    network = models.googlenet(num_classes=3, **options)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # statistics with which what it is given shows in its answers
    network(torch.randn(8, 3, 64, 64))
    network.eval()
    torch.save(network.state_dict(), tmp_path / "googlenet.pth")
    more = asked(folder, "--json", network="googlenet-bn")
    found = json.loads(command("evaluate", "googlenet.pth", *more).out)
    normalize = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    expected = textbook(network, folder, 1, normalize)
    assert found["evaluations"][0]["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert found["input"].startswith("0 to 1, minus 0.5, divided by 0.5")
    stated = json.loads(command("evaluate", "googlenet.pth", *more, "--input", "torchvision").out)
    assert stated["evaluations"][0]["loss"] != pytest.approx(expected["loss"], rel=1e-3)
    assert any("--input half" in note for note in stated["notes"])
