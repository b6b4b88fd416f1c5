"""Checkpoints as torch.save writes them, beside this script: python3 make_checkpoints.py. Values are whole numbers that the tests know by their place."""
import collections
import os

import torch

here = os.path.dirname(os.path.abspath(__file__))


def count(shape, start, type):
    return (torch.arange(torch.Size(shape).numel()) + start).reshape(shape).to(type)


def state():
    whole = count([4, 6], 0, torch.float32)
    result = collections.OrderedDict()
    result["float64"] = count([3], 1, torch.float64)
    result["float32"] = count([2, 3], 2, torch.float32)
    result["float16"] = count([5], 3, torch.float16)
    result["bfloat16"] = count([4], 4, torch.bfloat16)
    result["int64"] = count([2], -5, torch.int64)
    result["int32"] = count([2], 6, torch.int32)
    result["int16"] = count([2], -7, torch.int16)
    result["int8"] = count([2], -8, torch.int8)
    result["uint8"] = count([2], 249, torch.uint8)
    result["bool"] = torch.tensor([True, False])
    result["scalar"] = torch.tensor(11.0)
    result["empty"] = torch.zeros(0, 3)
    result["transposed"] = whole.t()
    result["part"] = whole[1:3, ::2]
    result["tied"] = whole
    result["again"] = whole
    result["parameter"] = torch.nn.Parameter(count([2, 2], 13, torch.float32))
    return result


model = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
model(torch.ones(1, 2)).sum().backward()
optimizer.step()
content = {
    "state_dict": collections.OrderedDict(("module." + name, value) for name, value in state().items()),
    "epoch": 7, "best": 0.5, "arch": "net", "shape": torch.Size([1, 2]), "type": torch.float32, "device": torch.device("cpu"),
    "set": {1, 2}, "bytes": b"\xff\x00", "none": None, "large": 2 ** 70, "optimizer": optimizer.state_dict(),
}
for legacy in [False, True]:
    def save(what, name):
        torch.save(what, os.path.join(here, name + (".legacy.pth" if legacy else ".pt")), _use_new_zipfile_serialization=not legacy)

    save(state(), "state")
    save(content, "content")
    save(model, "model")
torch.save(state(), os.path.join(here, "protocol4.pt"), pickle_protocol=4)
torch.save({"student": state(), "teacher": state()}, os.path.join(here, "two.pt"))
