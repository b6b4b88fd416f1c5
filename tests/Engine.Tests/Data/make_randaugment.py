"""Writes randaugment.json.gz: torchvision's magnitudes of RandAugment, and what its operations make of a Pillow image, a grey one, and a tensor.

Run with a Python that has torch, torchvision and Pillow (Debian's python3-torch, python3-torchvision): python3 make_randaugment.py
"""

import gzip
import json
import pathlib

import numpy
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, RandAugment, functional
from torchvision.transforms.autoaugment import _apply_op

HEIGHT, WIDTH = 21, 26
y, x = numpy.mgrid[0:HEIGHT, 0:WIDTH]
noise = numpy.random.RandomState(2).randint(0, 9, (HEIGHT, WIDTH))
pixels = numpy.stack([30 + 5 * x + noise, 200 - 4 * y - noise, 128 + 60 * numpy.sin(x / 5) * numpy.cos(y / 4)], -1).clip(0, 255).astype(numpy.uint8)
colour = Image.fromarray(pixels)
grey = Image.fromarray(pixels[:, :, 0])
tensor = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
BINS = 31


def space(size, bins=BINS):
    return RandAugment()._augmentation_space(bins, size)


def levels(picture):
    array = numpy.asarray(picture)
    return (array if array.ndim == 2 else array.transpose(2, 0, 1)).reshape(-1).tolist()


def level(name, magnitude):
    values, signed = space((HEIGHT, WIDTH))[name]
    return (float(values[magnitude]) if values.ndim else 0.0), signed


def cases(picture, magnitudes, fill):
    for name in space((HEIGHT, WIDTH)):
        seen = set()
        for magnitude in magnitudes:
            value, signed = level(name, magnitude)
            for sign in (1, -1) if signed else (1,):
                if (sign * value) not in seen:
                    seen.add(sign * value)
                    changed = _apply_op(picture, name, sign * value, InterpolationMode.NEAREST, fill)
                    yield {"name": name, "magnitude": magnitude, "sign": sign, "pixels": levels(changed)}


reference = {
    "shape": [3, HEIGHT, WIDTH],
    "pixels": levels(colour),
    "spaces": [
        {
            "size": size,
            "bins": bins,
            "levels": {name: [float(v) for v in values] if values.ndim else [0.0] * bins for name, (values, _) in space(size, bins).items()},
        }
        for size, bins in (((HEIGHT, WIDTH), 31), ((224, 224), 31), ((32, 331), 31), ((224, 300), 11))
    ],
    "colour": list(cases(colour, (9, 22), (255, 10, 100))),
    "grey": list(cases(grey, (9,), 0)),
    "sharpness": [
        {"factor": factor, "values": [round(float(v), 6) for v in functional.adjust_sharpness(tensor, factor).reshape(-1)]}
        for factor in (0.3, 1.6)
    ],
}
path = pathlib.Path(__file__).with_name("randaugment.json.gz")
path.write_bytes(gzip.compress(json.dumps(reference, separators=(",", ":")).encode(), 9, mtime=0))
