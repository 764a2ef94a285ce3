"""Folders laid out like PASCAL VOC's development kit, and like COCO, with made-up images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Object = tuple[str, tuple[float, float, float, float], int]  # class, xmin ymin xmax ymax, difficult

XML = "<annotation><size><width>{}</width><height>{}</height></size>{}</annotation>"
OBJECT = (
    "<object><name>{}</name><pose>Left</pose><difficult>{}</difficult><bndbox><xmin>{}</xmin>"
    "<ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox><part><name>head</name><bndbox>"
    "<xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"
)


def write_image(path: Path, width: int, height: int, seed: int = 0, **options: Any) -> None:
    """A JPEG of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.Generator(np.random.PCG64(seed))
    pixels = random.integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)


def annotation(objects: Sequence[Object], width: int = 40, height: int = 30) -> str:
    texts = [OBJECT.format(name, difficult, *box) for name, box, difficult in objects]
    return XML.format(width, height, "".join(texts))


def write_voc(
    folder: Path, lists: dict[str, dict[str, Sequence[Object]]], width: int = 40, height: int = 30
) -> Path:
    """A year's folder with these lists of images with these objects."""
    for name, images in lists.items():
        path = folder / "ImageSets" / "Main" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{image_id}\n" for image_id in images), encoding="utf-8")
        (folder / "Annotations").mkdir(exist_ok=True)
        for seed, (image_id, objects) in enumerate(images.items()):
            write_image(folder / "JPEGImages" / f"{image_id}.jpg", width, height, seed)
            text = annotation(objects, width, height)
            (folder / "Annotations" / f"{image_id}.xml").write_text(text, encoding="utf-8")
    return folder


def write_coco(folder: Path, year: int = 2014) -> Path:
    """Two images to train and one to test on, with two categories, a crowd and an empty box."""
    categories = [{"id": 7, "name": "train"}, {"id": 3, "name": "car"}]
    for part, numbers in (("train", (12, 5)), ("val", (1,))):
        images, annotations = [], []
        for number in numbers:
            file = f"COCO_{part}{year}_{number:012d}.jpg"
            write_image(folder / f"{part}{year}" / file, 40, 30, number)
            images.append({"id": number, "file_name": file, "width": 40, "height": 30})
            for category, box, crowd in (
                (3, [1.5, 2, 10, 5.25], 0),
                (7, [0, 0, 40, 30], 1),
                (3, [4, 4, 0, 3], 0),
            ):
                annotations.append({
                    "id": len(annotations), "image_id": number, "category_id": category,
                    "bbox": box, "area": box[2] * box[3] / 2, "iscrowd": crowd,
                    "segmentation": [[1, 2, 3, 4, 5, 6]],
                })  # fmt: skip
        path = folder / "annotations" / f"instances_{part}{year}.json"
        path.parent.mkdir(exist_ok=True)
        content = {"images": images, "annotations": annotations, "categories": categories}
        path.write_text(json.dumps(content), encoding="utf-8")
    return folder
