"""Writes transforms.json.gz: a random image, what Pillow resizes it to, and what torchvision's tensor functions make of its colours.

Run with a Python that has torch, torchvision and Pillow (Debian's python3-torch, python3-torchvision): python3 make_transforms.py
"""

import gzip
import json
import pathlib

import numpy
import torch
from PIL import Image
from torchvision.transforms import functional

pixels = numpy.random.RandomState(4).randint(0, 256, (23, 37, 3), dtype=numpy.uint8)
# Flat patches have no hue, and extremes clamp.
pixels[:5, :5], pixels[5:8, :5], pixels[8:11, :5] = 128, 0, 255
image = Image.fromarray(pixels)
tensor = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def flat(values, digits=6):
    return [round(float(v), digits) for v in numpy.asarray(values).reshape(-1)]


def planes(picture):
    return numpy.asarray(picture).transpose(2, 0, 1).reshape(-1).tolist()


reference = {
    "shape": [3, 23, 37],
    "pixels": planes(image),
    "resize": [
        {"size": size, "pixels": planes(functional.resize(image, size))}
        for size in ([9, 14], [46, 60], [23, 8], [40, 37], [1, 1])
    ],
    "cubic": [
        {"size": size, "pixels": planes(functional.resize(image, size, functional.InterpolationMode.BICUBIC))}
        for size in ([9, 14], [46, 60], [23, 8], [1, 1])
    ],
    "shorter": {"size": 11, "pixels": planes(functional.resize(image, 11))},
    "crop": {"size": [30, 12], "pixels": planes(functional.center_crop(image, [30, 12]))},
    "brightness": {"factor": 1.4, "values": flat(functional.adjust_brightness(tensor, 1.4))},
    "contrast": {"factor": 1.7, "values": flat(functional.adjust_contrast(tensor, 1.7))},
    "saturation": {"factor": 0.3, "values": flat(functional.adjust_saturation(tensor, 0.3))},
    "hue": {"factor": -0.2, "values": flat(functional.adjust_hue(tensor, -0.2))},
    "grey": {"values": flat(functional.rgb_to_grayscale(tensor))},
}
path = pathlib.Path(__file__).with_name("transforms.json.gz")
path.write_bytes(gzip.compress(json.dumps(reference, separators=(",", ":")).encode(), 9, mtime=0))
