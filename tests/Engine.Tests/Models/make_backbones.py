#!/usr/bin/env python3
"""Writes backbones.json.gz: names, outputs, gradients and running statistics of networks, as PyTorch computes them in float64.

Run it with a Python that has PyTorch and torchvision (Debian's python3-torch 1.13 and python3-torchvision 0.14 made the committed file).
Networks that torchvision has come from there; the others are written here from their papers and from the names that their weights have.
Parameters, buffers and inputs are not stored: both sides compute them from the name and the index (`numbers` below). Of each result tensor there are
its norm, its product with such numbers, which every element enters, and one element.
"""
import gzip, json, math, os
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision.models as tv

torch.set_default_dtype(torch.float64)
CLASSES, BATCH = 5, 2


def numbers(name, count):
    """As many numbers in [-1, 1) as wanted, a hash of the name (FNV-1a) and the index."""
    seed = 2166136261
    for letter in name.encode():
        seed = (seed ^ letter) * 16777619 % 2**32
    with np.errstate(over="ignore"):
        h = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(seed)
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D)
        h = (h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B)
        h = h ^ (h >> np.uint32(16))
    return h.astype(np.float64) / 2**31 - 1


def values(name, shape):
    """First values by kind, rounded to float32."""
    u = numbers(name, math.prod(shape))
    if name.endswith("running_var"):
        u = 1 + 0.3 * u
    elif len(shape) == 1:
        u = 0.5 + 0.1 * u if name.endswith("weight") else 0.1 * u
    elif name.endswith("weight"):
        u = math.sqrt(6 / math.prod(shape[1:])) * u
    else:
        u = 0.2 * u
    return torch.from_numpy(u.astype(np.float32).astype(np.float64)).reshape(shape)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.Dropout2d(), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Dropout())
        self.head = nn.Linear(500, CLASSES)

    def forward(self, x):
        return self.head(self.features(x))


class Dtn(nn.Module):
    """The digit network of CDAN's code."""

    def __init__(self):
        super().__init__()

        def stage(inputs, outputs, p):
            return [nn.Conv2d(inputs, outputs, 5, 2, 2), nn.BatchNorm2d(outputs), nn.Dropout2d(p), nn.ReLU()]
        self.conv_params = nn.Sequential(*stage(3, 64, 0.1), *stage(64, 128, 0.3), *stage(128, 256, 0.5))
        self.fc_params = nn.Sequential(nn.Linear(256 * 4 * 4, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Dropout())
        self.classifier = nn.Linear(512, CLASSES)

    def forward(self, x):
        return self.classifier(self.fc_params(self.conv_params(x).flatten(1)))


class MobileNetV1(nn.Module):
    """TensorFlow's: SAME padding and an epsilon of 1e-3, with the names of Keras."""
    STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    WIDTHS = [64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]

    def __init__(self):
        super().__init__()
        self.steps = []
        self.conv("conv1", 3, 32, 3, 2)
        inputs = 32
        for i, (stride, width) in enumerate(zip(self.STRIDES, self.WIDTHS), 1):
            self.conv(f"conv_dw_{i}", inputs, inputs, 3, stride, inputs)
            self.conv(f"conv_pw_{i}", inputs, width, 1, 1)
            inputs = width
        self.head = nn.Linear(inputs, CLASSES)

    def conv(self, name, inputs, outputs, size, stride, groups=1):
        self.add_module(name, nn.Conv2d(inputs, outputs, size, stride, groups=groups, bias=False))
        self.add_module(name + "_bn", nn.BatchNorm2d(outputs, eps=1e-3))
        self.steps.append((name, size, stride))

    def forward(self, x):
        for name, size, stride in self.steps:
            missing = max(0, (-(-x.shape[2] // stride) - 1) * stride + size - x.shape[2])
            before, after = missing // 2, missing - missing // 2
            x = getattr(self, name)(F.pad(x, (before, after, before, after)))
            x = F.relu6(getattr(self, name + "_bn")(x))
        return self.head(x.mean((2, 3)))


class CifarBlock(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.stride, self.more = stride, (width - inputs) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, self.more, self.more)))


class CifarResNet(nn.Module):
    """Option A of the paper, with the names of Y. Idelbayev's implementation."""

    def __init__(self, depth):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        inputs = 16
        for stage, width in enumerate([16, 32, 64], 1):
            blocks = []
            for i in range((depth - 2) // 6):
                blocks.append(CifarBlock(inputs, width, 1 if width == inputs else 2))
                inputs = width
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, CLASSES)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, t, w = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        a = (q @ k.transpose(-2, -1) / math.sqrt(w // self.heads)).softmax(-1)
        return self.proj((a @ v).transpose(1, 2).reshape(n, t, w))


class VitBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(width, eps=1e-6), Attention(width, heads), nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential()
        self.mlp.add_module("fc1", nn.Linear(width, 4 * width))
        self.mlp.add_module("act", nn.GELU())
        self.mlp.add_module("fc2", nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """With timm's names."""

    def __init__(self, width, heads, size, patch=16):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, width))
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, width, patch, patch)
        self.blocks = nn.Sequential(*[VitBlock(width, heads) for _ in range(12)])
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


def vgg(make, hidden):
    """torchvision's, with hidden layers of a width that keeps the test small."""
    model = make(num_classes=CLASSES, init_weights=False)
    model.classifier[0], model.classifier[3] = nn.Linear(512 * 49, hidden), nn.Linear(hidden, hidden)
    model.classifier[6] = nn.Linear(hidden, CLASSES)
    return model


def torchvision(make):
    return lambda size: make(num_classes=CLASSES)


# Name, what makes it for images of a size, the channels and the size.
NETWORKS = [
    ("squeezenet1_0", torchvision(tv.squeezenet1_0), 3, 32),
    ("squeezenet1_1", torchvision(tv.squeezenet1_1), 3, 32),
    ("mobilenet_v1", lambda size: MobileNetV1(), 3, 32),
    ("mobilenet_v2", torchvision(tv.mobilenet_v2), 3, 32),
    ("resnet18", torchvision(tv.resnet18), 3, 32),
    ("resnet34", torchvision(tv.resnet34), 3, 32),
    ("resnet50", torchvision(tv.resnet50), 3, 32),
    *[(f"resnet{depth}", lambda size, depth=depth: CifarResNet(depth), 3, 32) for depth in (20, 32, 44, 56)],
    *[(make.__name__, lambda size, make=make: vgg(make, 16), 3, 32) for make in (tv.vgg11, tv.vgg11_bn, tv.vgg16, tv.vgg16_bn)],
    ("lenet", lambda size: LeNet(), 1, 28),
    ("dtn", lambda size: Dtn(), 3, 32),
    ("vit_tiny_patch16_224", lambda size: Vit(192, 3, size), 3, 64),
    ("vit_small_patch16_224", lambda size: Vit(384, 6, size), 3, 32),
    ("vit_base_patch16_224", lambda size: Vit(768, 12, size), 3, 32),
]

LARGER = {"mobilenet_v1", "mobilenet_v2", "resnet18", "resnet34", "resnet50", "vgg11_bn", "vgg16_bn"}


def digits(x):
    return float(f"{x:.9g}")


def summary(name, tensor):
    x = tensor.detach().reshape(-1).numpy()
    return [digits(np.linalg.norm(x)), digits(x @ numbers("probe." + name, len(x))), digits(x[len(x) // 3])]


def gradients(model, x, train):
    """The logits, and the gradients of their product with fixed numbers."""
    model.train(train)
    for module in model.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d)):
            module.eval()
    model.zero_grad()
    y = model(x)
    (y * torch.from_numpy(numbers("gradient", y.numel())).reshape(y.shape)).sum().backward()
    return y.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


def fill(model, jitter=0.0, seed=0):
    """Sets parameters and buffers, each changed by a random share of itself where that is wanted."""
    random = torch.Generator().manual_seed(seed)
    model.load_state_dict({
        name: values(name, t.shape) * (1 + jitter * (2 * torch.rand(t.shape, generator=random) - 1)) if t.is_floating_point() else t * 0
        for name, t in model.state_dict().items()})


def sensitivity(model, x, train, exact):
    """How far gradients move when weights do as float32's rounding would move what they make: far where a ReLU or a maximum is about to switch."""
    worst = 0
    largest = max(g.norm() for g in exact.values())
    for seed in (1, 2):
        fill(model, 2e-7, seed)
        _, moved = gradients(model, x, train)
        worst = max(worst, max(float((moved[n] - g).norm() / (g.norm() if g.norm() > 1e-9 * largest else largest)) for n, g in exact.items()))
    return worst


def run(model, name, shape, train):
    """
    The logits, and summaries of the gradients and of the running statistics after them. Float32 is compared in evaluation only, at the first input at
    which its rounding determines the gradients: with the statistics of small batches a rounding error switches a ReLU sooner or later.
    """
    for attempt in range(1, 9):
        source = f"input {attempt}"
        x = (math.sqrt(3) * torch.from_numpy(numbers(source, math.prod(shape))).reshape(shape)).float().double()
        fill(model)
        y, exact = gradients(model, x, train)
        statistics = {n: summary(n, b) for n, b in model.named_buffers() if b.is_floating_point()}
        if train or sensitivity(model, x, train, exact) < 2e-5:
            break
    else:
        raise SystemExit(f"{name}: at none of these inputs float32 determines the gradients")
    print(name, source, flush=True)
    result = {"input": source, "shape": list(shape), "logits": [digits(v) for v in y.reshape(-1).tolist()], "gradients": {n: summary(n, g) for n, g in exact.items()}}
    if train:
        result["statistics"] = statistics
    return result


networks = []
for name, make, channels, size in NETWORKS:
    model = make(size)
    shape = (BATCH, channels, size, size)
    item = {"name": name, "state": {n: list(t.shape) for n, t in model.state_dict().items()}, "eval": run(model, name, shape, False)}
    if any("running_var" in n for n in item["state"]):
        # Larger images, so that normalisation has some pixels to take a mean of.
        item["train"] = run(model, name, (BATCH, channels, 64, 64) if name in LARGER else shape, True)
    networks.append(item)

with open(os.path.join(os.path.dirname(__file__), "backbones.json.gz"), "wb") as file:
    # No name and no time in the header: the same versions write the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
        packed.write(json.dumps(networks, separators=(",", ":")).encode())
