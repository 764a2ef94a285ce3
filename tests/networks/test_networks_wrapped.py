"""Weights as others' training code leaves them: behind prefixes, inside and beside things."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import pickle
import struct
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from resnet_repro.base.errors import ConfigError
from resnet_repro.networks.weights import Fitted, fit
from resnet_repro.networks.weights_file import Inert, leaves, read_weights

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    """A ResNet-18 for two classes; each tensor has a value of its own, which takes no room."""
    with torch.device("meta"):
        shapes = models.resnet18(num_classes=2).state_dict()
    return {
        name: torch.tensor(number, dtype=like.dtype).expand(like.shape)
        for number, (name, like) in enumerate(shapes.items())
    }


def fitted(path: Path, content: Any, network: str = "resnet-18-b", **how: Any) -> Fitted:
    torch.save(content, path / "w.pth", **how)
    return fit(network, read_weights(path / "w.pth"))


def behind(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def other(state: State) -> State:
    return {name: value + 1 for name, value in state.items()}


class Bag(dict):
    """A mapping of somebody's own, as OmegaConf, easydict and ml_collections have."""

    def __init__(self, **items: Any) -> None:
        super().__init__(items)
        self.__dict__ = self


class Callback:
    def __init__(self) -> None:
        self.best = torch.tensor(3.0)
        self.path = Path("somewhere")


WRAPPED: dict[str, Callable[[State], Any]] = {
    "AveragedModel": lambda s: {"n_averaged": torch.tensor(7), **behind("module.", s)},
    "Lightning": lambda s: {
        "state_dict": {**behind("model.", s), "criterion.weight": torch.ones(2)},
        "callbacks": {"ModelCheckpoint": Callback()},
        "hyper_parameters": Bag(lr=0.1),
    },
    "a name of its own": lambda s: behind("my_net.encoder.", s),
    "as the PyTorch examples save": lambda s: {
        "arch": "resnet18",
        "best_acc1": torch.tensor(69.7),
        "state_dict": behind("module.", s),
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": []},
    },
    "network": lambda s: {"network": s},
    "net": lambda s: {"net": s, "acc": 93.2, "epoch": 7},
    "module": lambda s: {"arch": "resnet18", "module": s},
    "twice": lambda s: {"model": {"state_dict": behind("module.", s)}},
    "in a list": lambda s: [s],
    "Sequential after a normalisation": lambda s: {"0.mean": torch.ones(3), **behind("1.", s)},
    "options": lambda s: {"model": s, "args": argparse.Namespace(lr=0.1, arch="resnet18")},
    "a numpy number": lambda s: {"state_dict": s, "best": np.float64(3.5)},
    "a mapping of its own": lambda s: Bag(model=OrderedDict(s)),
    "a defaultdict": lambda s: {"model": s, "log": defaultdict(list, loss=[1.0])},
    "modules as mappings": lambda s: (
        {"conv1": {"weight": s["conv1.weight"]}}
        | {name: value for name, value in s.items() if name != "conv1.weight"}
    ),
    "copies that are the same": lambda s: {"net": s, "attacker.net": s},
    "parameters": lambda s: {
        "args": argparse.Namespace(),
        "net": {k: nn.Parameter(v) if v.is_floating_point() else v for k, v in s.items()},
    },
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", WRAPPED)
def test_the_network_is_found(name: str, legacy: bool, tmp_path: Path, state: State) -> None:
    found = fitted(tmp_path, WRAPPED[name](state), _use_new_zipfile_serialization=not legacy)
    assert found.classes == 2
    assert found.tensors.keys() == state.keys()
    assert all(torch.equal(found.tensors[key], value) for key, value in state.items())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated:FutureWarning")
def test_a_script_of_torch_is_read_as_well(tmp_path: Path) -> None:
    network = models.resnet18(num_classes=2).eval()
    torch.jit.script(network).save(str(tmp_path / "w.pt"))
    found = fit("resnet-18-b", read_weights(tmp_path / "w.pt"))
    assert torch.equal(found.tensors["fc.weight"], network.fc.weight)


def test_what_is_left_aside_is_said(tmp_path: Path, state: State) -> None:
    content = {
        "state_dict": {**behind("model.", state), "criterion.weight": torch.ones(2)},
        "args": argparse.Namespace(),
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}},
    }
    aside, unread = fitted(tmp_path, content).notes
    assert aside == "left aside in the file: 1 other tensors (state_dict.criterion.weight)"
    assert unread == "not read in the file, as it could run code: argparse.Namespace"
    assert not fitted(tmp_path, {"module." + k: v for k, v in state.items()}).notes


@pytest.mark.parametrize("first", ["state_dict", "state_dict_ema"])
def test_plain_weights_are_taken_before_averaged_ones_and_that_is_said(
    first: str, tmp_path: Path, state: State
) -> None:
    both = {"state_dict": state, "state_dict_ema": other(state)}
    found = fitted(tmp_path, {first: both.pop(first), **both})
    assert torch.equal(found.tensors["fc.bias"], state["fc.bias"])
    (note,) = found.notes
    assert "tested is what stands under state_dict;" in note
    assert "state_dict_ema" in note
    alone = fitted(tmp_path, {"state_dict_ema": behind("module.", state)})
    assert torch.equal(alone.tensors["fc.bias"], state["fc.bias"])
    assert not alone.notes


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fc.weight": None, "fc.bias": None}, "2 missing (fc.weight, fc.bias)"),
        ({"layer1.0.se.fc1.weight": torch.ones(2, 2)}, "1 unexpected (layer1.0.se.fc1.weight)"),
        ({"conv1.weight": torch.ones(64, 3, 3, 3)}, "1 of another shape (conv1.weight)"),
    ],
)
def test_a_misfit_names_the_prefix_and_what_is_wrong(
    change: dict[str, Tensor | None], says: str, tmp_path: Path, state: State
) -> None:
    changed = {name: value for name, value in {**state, **change}.items() if value is not None}
    with pytest.raises(ConfigError) as caught:
        fitted(tmp_path, {"net": changed})
    text = str(caught.value)
    assert f"w.pth does not fit resnet-18-b: tensors under net {says}; " in text
    assert "\n" not in text
    assert len(text) < 300


def test_a_residual_network_is_not_taken_for_its_plain_twin(tmp_path: Path, state: State) -> None:
    with pytest.raises(ConfigError, match=r"unexpected .*fits --network resnet-18-b"):
        fitted(tmp_path, {"net": state}, "plain-18")


class Reduced:
    """Pickles as whatever it is given: the call of a function, perhaps with a state to set."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced

    def __call__(self) -> None:
        """What may be pickled as the function of a call has to be callable."""


class Touching:
    """Leaves a file behind when it is made, or given its state, or its items."""

    proof = Path("executed")

    def __new__(cls, *_: Any) -> Touching:
        cls.proof.touch()
        return super().__new__(cls)

    def _touch(self, *_: Any) -> None:
        self.proof.touch()

    __setstate__ = __setitem__ = append = extend = __call__ = _touch


def harmful() -> dict[str, Any]:
    touch = (Path.touch, (Path("executed"),))
    made = (Touching, ())
    return {
        "a call": Reduced(*touch),
        "a state": Reduced(*made, {"a": 1}),
        "items": Reduced(*made, None, iter([1, 2])),
        "keys": Reduced(*made, None, None, iter([("a", 1)])),
        "a function of torch's that reads": Reduced(
            torch.storage._load_from_bytes, (pickle.dumps(Reduced(*touch)),)
        ),
        "a hook on a parameter": Reduced(
            torch._utils._rebuild_parameter, (Reduced(*touch), True, OrderedDict())
        ),
        "a type's own reading": Reduced(
            torch._tensor._rebuild_from_type_v2, (Path.touch, Touching, (Path("executed"),), {})
        ),
        "a call of what a call has given": Reduced(Reduced(*made), ()),
        "an attribute of a function": Reduced(eval, ("open('executed', 'w')",)),
    }


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", [*harmful()])
def test_nothing_is_executed(
    name: str, legacy: bool, tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"state_dict": state, "more": harmful()[name]}
    torch.save(content, "w.pth", _use_new_zipfile_serialization=not legacy)
    Path("executed").unlink(missing_ok=True)  # making the object has touched it
    found = fit("resnet-18-b", read_weights(Path("w.pth")))
    assert found.tensors.keys() == state.keys()
    assert any(note.startswith("not read in the file") for note in found.notes)
    assert not Path("executed").exists()
    with contextlib.suppress(Exception):
        torch.load("w.pth", weights_only=False)
    assert Path("executed").exists(), "the file would have done harm"


def archive(path: Path, pickled: bytes) -> Path:
    """A file of torch's format with a pickle of somebody's own making."""
    torch.save({"w": torch.ones(3)}, path / "w.pth")
    with zipfile.ZipFile(path / "w.pth") as old, zipfile.ZipFile(path / "own.pth", "w") as new:
        for info in old.infolist():
            content = pickled if info.filename.endswith("data.pkl") else old.read(info)
            new.writestr(info.filename, content)
    return path / "own.pth"


@pytest.mark.parametrize(
    "state", [b"}X\x06\x00\x00\x00poisonK\x01s", b"N}X\x01\x00\x00\x00xK\x01s\x86"]
)
@pytest.mark.parametrize(
    "what",
    ["torch._utils _rebuild_tensor_v2", "os environ", "collections OrderedDict", "torch Size"],
)
def test_functions_and_classes_cannot_be_changed_either(
    what: str, state: bytes, tmp_path: Path
) -> None:
    """BUILD sets attributes of whatever lies on the stack, which is only a stand-in here."""
    module, name = what.split()
    found = getattr(importlib.import_module(module), name)
    before = dict(vars(found))
    pickled = f"\x80\x02c{module}\n{name}\n".encode() + state + b"b."
    with pytest.raises(ConfigError):
        read_weights(archive(tmp_path, pickled))
    assert dict(vars(found)) == before


@pytest.mark.parametrize(
    "pickled",
    [
        b"",
        b".",
        b"hello",
        b"<!DOCTYPE html><html>404</html>",
        b"\x80\x02}q\x00.",  # a whole pickle, of nothing that torch writes
        b"(" * 100,
        b"I" + b"9" * 10_000 + b"\n.",
        b"\x8d" + struct.pack("<Q", 1 << 62) + b"x.",  # a text that is longer than the file
        b"\x85" * 1000 + b".",
        b"cos\nsystem\n(S'touch executed'\ntR.",
        b"\x80\x02cposix\nsystem\nX\x0e\x00\x00\x00touch executed\x85R.",
        b"Pid\n.",
        b"\x82\x01.",  # an extension's number
        b"]" + b"]a" * 5 + b".",
        pickle.dumps({"a": [1, 2, (3, {4})]}, protocol=5),
        pickle.dumps({"a": [1, 2, (3, {4})]}, protocol=0),
        pickle.dumps(argparse.Namespace(lr=0.1), protocol=4),
    ],
)
def test_any_other_bytes_get_one_line(pickled: bytes, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(pickled)
    with pytest.raises(ConfigError, match=r"^w\.pth is not a whole file of weights") as told:
        read_weights(path)
    assert "\n" not in str(told.value)
    assert not Path("executed").exists()


def test_every_cut_and_changed_file_is_read_or_refused(tmp_path: Path) -> None:
    torch.save(
        {"w": torch.ones(3), "o": argparse.Namespace(a=np.float64(1))},
        tmp_path / "whole",
        _use_new_zipfile_serialization=False,
    )
    whole = (tmp_path / "whole").read_bytes()
    for place in range(0, len(whole), 3):
        for changed in (whole[:place], whole[:place] + b"\xff" + whole[place + 1 :]):
            (tmp_path / "w.pth").write_bytes(changed)
            try:
                read_weights(tmp_path / "w.pth")
            except ConfigError as error:
                assert "\n" not in str(error)  # noqa: PT017


def test_what_refers_to_itself_or_is_shared_many_times_ends() -> None:
    bomb: list[Any] = [0]
    for _ in range(60):
        bomb = [bomb, bomb]
    itself: dict[str, Any] = {}
    itself["again"] = itself
    deep: Any = 0
    for _ in range(100_000):
        deep = Inert({"a": deep})
    names = {"n" * 100: {"m" * 100: {"k" * 100: {str(i): i for i in range(100)}}}}
    assert len(list(leaves([bomb, itself, deep, {"x" * 10_000: 1}, names]))) < 300


def test_a_tensor_larger_than_its_numbers_is_refused(tmp_path: Path) -> None:
    storage = torch.zeros(4)._typed_storage()
    for offset, size, stride in ((0, 1 << 40, 1), (0, 4, 2), (3, 2, 1), (-1, 4, 1), (0, -4, 1)):
        given = (storage, offset, (size,), (stride,), False, OrderedDict())
        torch.save(Reduced(torch._utils._rebuild_tensor_v2, given), tmp_path / "w.pth")
        with pytest.raises(ConfigError, match=r"larger than its storage|impossible sizes"):
            read_weights(tmp_path / "w.pth")


def test_a_compressed_archive_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(1_000))
        archive.getinfo("archive/data/0").file_size = 2**30  # says its directory, which is read
    with pytest.raises(ConfigError, match="it is compressed"):
        read_weights(path)
