"""The loaders' race: both run on real files, and what is reported adds up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_repro.base.errors import ConfigError
from resnet_repro.bench.loader import measure_loader
from resnet_repro.data import datasets
from resnet_repro.data.photos.photos import PhotoDataset, photos_of
from resnet_repro.spec.recipe_parts import Photographs


@pytest.fixture
def photos(tmp_path: Path) -> PhotoDataset:
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for number in range(6):
                pixels = random.integers(0, 256, (50, 60, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / part / name / f"{number}.jpg")
    dataset = datasets.load("folder:photos", tmp_path)
    assert isinstance(dataset, PhotoDataset)
    return dataset


def test_measure_loader(photos: PhotoDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_REPRO_WORKERS", "0")
    told: list[str] = []
    sizes = Photographs.for_crop(32)
    measured = measure_loader(
        photos, sizes, rounds=3, seconds=0.05, progress=told.append, batch_size=8
    )
    assert measured.in_memory
    assert measured.decoding_seconds is not None
    assert (measured.rounds, measured.workers, measured.batch_size) == (3, 0, 8)
    assert measured.images_per_second_low <= measured.images_per_second
    assert measured.images_per_second <= measured.images_per_second_high
    assert measured.textbook_images_per_second > 0
    assert measured.ratio_low <= measured.ratio <= measured.ratio_high
    assert sum("round" in line for line in told) == 3
    assert json.loads(json.dumps(vars(measured)))["source"] == "folder"


def test_only_files_can_be_compared(tmp_path: Path) -> None:
    dataset = photos_of(datasets.load("synthetic", tmp_path))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="photographs in files"):
        measure_loader(dataset, Photographs.for_crop(32))
