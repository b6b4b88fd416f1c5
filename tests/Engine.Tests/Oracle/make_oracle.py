#!/usr/bin/env python3
"""Writes oracle.json.gz: operators, losses and optimisers computed by PyTorch in float64 at random configurations.

Run it with a Python that has PyTorch (Debian's python3-torch 1.13 made the committed file); the same version writes the same bytes.
A case holds the operator, its arguments, the inputs, a random gradient of the output, the output, and the gradients of the inputs.
"""
import gzip, json, random
import torch
import torch.nn.functional as F

random.seed(1)
torch.manual_seed(1)
torch.set_default_dtype(torch.float64)
cases = []
pick = random.choice


def tensor(t):
    return {"shape": list(t.shape), "values": [float(f"{v:.15g}") for v in t.detach().reshape(-1).tolist()]}


def randn(*shape, positive=False):
    x = torch.randn(*shape)
    x = torch.tensor([float(f"{v:.6g}") for v in x.reshape(-1).tolist()]).reshape(shape)
    return x.abs() + 0.1 if positive else x


def case(op, f, inputs, args=None, integers=()):
    leaves = [x.clone().requires_grad_(True) for x in inputs]
    y = f(*leaves, *integers)
    g = torch.tensor([float(f"{v:.6g}") for v in torch.randn(y.shape).reshape(-1).tolist()]).reshape(y.shape)
    grads = torch.autograd.grad(y, leaves, g, allow_unused=True)
    cases.append({
        "op": op, "args": args or {}, "inputs": [tensor(x) for x in inputs],
        "integers": [{"shape": list(i.shape), "values": i.reshape(-1).tolist()} for i in integers],
        "gradient": tensor(g), "output": tensor(y),
        "gradients": [tensor(torch.zeros_like(x) if d is None else d) for x, d in zip(leaves, grads)],
    })


def size(low, high):
    return random.randint(low, high)


for _ in range(24):
    m, k, n = size(1, 5), size(1, 6), size(1, 5)
    a, b = pick([((m, k), (k, n)), ((k,), (k, n)), ((m, k), (k,)), ((k,), (k,)), ((2, m, k), (2, k, n)), ((2, 1, m, k), (3, k, n)), ((m, k), (3, k, n))])
    case("matmul", torch.matmul, [randn(*a), randn(*b)])
for _ in range(12):
    i, o = size(1, 6), size(1, 5)
    lead = pick([(3,), (2, 3), ()])
    case("linear", F.linear, [randn(*lead, i), randn(o, i), randn(o)])
for _ in range(40):
    g = pick([1, 1, 2, 3])
    c, o, k = g * size(1, 2), g * size(1, 2), (size(1, 3), size(1, 3))
    s, p, d = (size(1, 2), size(1, 2)), (size(0, 2), size(0, 2)), (size(1, 2), size(1, 2))
    h, w = d[0] * (k[0] - 1) + size(1, 4), d[1] * (k[1] - 1) + size(1, 4)
    a = {"stride": s, "padding": p, "dilation": d, "groups": g}
    case("conv2d", lambda x, v, b: F.conv2d(x, v, b, **a), [randn(size(1, 2), c, h, w), randn(o, c // g, *k), randn(o)], a)
for _ in range(24):
    g = pick([1, 1, 2])
    c, o, k = g * size(1, 2), size(1, 2), (size(1, 3), size(1, 3))
    s, p, d = (size(1, 3), size(1, 3)), (size(0, 1), size(0, 1)), (size(1, 2), size(1, 2))
    q = (size(0, max(s[0], d[0]) - 1), size(0, max(s[1], d[1]) - 1))
    h, w = size(2, 4), size(2, 4)
    if any((e - 1) * t - 2 * r + u * (v - 1) + z + 1 <= 0 for e, t, r, u, v, z in zip((h, w), s, p, d, k, q)):
        continue
    a = {"stride": s, "padding": p, "output_padding": q, "groups": g, "dilation": d}
    case("conv_transpose2d", lambda x, v, b: F.conv_transpose2d(x, v, b, **a), [randn(2, c, h, w), randn(c, o, *k), randn(g * o)], a)
for op, extra in (("max_pool2d", {}), ("avg_pool2d", {})):
    for _ in range(14):
        k = (size(1, 3), size(1, 3))
        a = {"kernel_size": k, "stride": (size(1, 3), size(1, 3)), "padding": (size(0, k[0] // 2), size(0, k[1] // 2)), "ceil_mode": pick([True, False])}
        if op == "avg_pool2d":
            a["count_include_pad"] = pick([True, False])
        case(op, lambda x: getattr(F, op)(x, **a), [randn(2, 2, size(3, 7), size(3, 7))], a)
for op in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
    for _ in range(6):
        a = {"output_size": (size(1, 4), size(1, 4))}
        case(op, lambda x: getattr(F, op)(x, **a), [randn(2, 2, size(4, 7), size(4, 7))], a)
for _ in range(8):
    shape = pick([(4, 3), (2, 3, 2, 3), (5, 2, 1, 2)])
    a = {"eps": pick([1e-5, 1e-3])}
    case("batch_norm", lambda x, w, b: F.batch_norm(x, None, None, w, b, True, 0.1, a["eps"]), [randn(*shape), randn(shape[1]), randn(shape[1])], a)
for _ in range(8):
    shape = pick([(4, 3), (2, 3, 5), (2, 2, 3, 4)])
    n = size(1, len(shape) - 1)
    a = {"normalized_shape": shape[-n:], "eps": 1e-5}
    case("layer_norm", lambda x, w, b: F.layer_norm(x, a["normalized_shape"], w, b, a["eps"]), [randn(*shape), randn(*shape[-n:]), randn(*shape[-n:])], a)
for _ in range(6):
    g = size(1, 3)
    c = g * size(1, 2)
    a = {"num_groups": g, "eps": 1e-5}
    case("group_norm", lambda x, w, b: F.group_norm(x, g, w, b, 1e-5), [randn(2, c, 2, 3), randn(c), randn(c)], a)
for op in ("softmax", "log_softmax", "logsumexp"):
    for _ in range(6):
        shape = pick([(3, 5), (2, 3, 4), (7,)])
        a = {"dim": size(0, len(shape) - 1)}
        case(op, lambda x: getattr(torch, op)(x, a["dim"]), [3 * randn(*shape)], a)
for _ in range(20):
    n, c = size(1, 5), size(2, 6)
    extra = pick([(), (), (2,)])
    a = {"label_smoothing": pick([0.0, 0.0, 0.1]), "reduction": pick(["mean", "sum", "none"]), "ignore_index": pick([-100, 0])}
    t = torch.randint(0, c, (n, *extra))
    if a["reduction"] == "mean" and bool((t == a["ignore_index"]).all()):
        continue
    if pick([True, False]):
        a["weight"] = randn(c, positive=True).tolist()
    case("cross_entropy", lambda x, y: F.cross_entropy(x, y, weight=torch.tensor(a["weight"]) if "weight" in a else None, ignore_index=a["ignore_index"], reduction=a["reduction"], label_smoothing=a["label_smoothing"]), [randn(n, c, *extra)], a, [t])
for _ in range(6):
    n, c = size(1, 5), size(2, 6)
    a = {"reduction": pick(["mean", "sum", "none"])}
    case("nll_loss", lambda x, y: F.nll_loss(x, y, reduction=a["reduction"]), [F.log_softmax(randn(n, c), 1)], a, [torch.randint(0, c, (n,))])
for op in ("mse_loss", "l1_loss"):
    for _ in range(4):
        a = {"reduction": pick(["mean", "sum", "none"])}
        case(op, lambda x, y: getattr(F, op)(x, y, reduction=a["reduction"]), [randn(3, 4), randn(3, 4)], a)
for _ in range(6):
    a = {"reduction": pick(["mean", "sum", "none"]), "beta": pick([1.0, 0.5])}
    case("smooth_l1_loss", lambda x, y: F.smooth_l1_loss(x, y, reduction=a["reduction"], beta=a["beta"]), [randn(3, 4), randn(3, 4)], a)
for _ in range(8):
    a = {"reduction": pick(["mean", "sum", "none"])}
    y = torch.rand(3, 4).round(decimals=3)
    a["target"] = y.reshape(-1).tolist()
    if pick([True, False]):
        a["pos_weight"] = randn(4, positive=True).tolist()
    case("binary_cross_entropy_with_logits", lambda x: F.binary_cross_entropy_with_logits(x, y, pos_weight=torch.tensor(a["pos_weight"]) if "pos_weight" in a else None, reduction=a["reduction"]), [3 * randn(3, 4)], a)
for _ in range(6):
    a = {"reduction": pick(["mean", "sum", "none", "batchmean"])}
    q = F.softmax(randn(3, 4), 1)
    a["target"] = q.reshape(-1).tolist()
    case("kl_div", lambda x: F.kl_div(x, q, reduction=a["reduction"]), [F.log_softmax(randn(3, 4), 1)], a)
for op in ("relu", "gelu", "silu", "elu", "softplus", "sigmoid", "tanh", "leaky_relu", "hardswish", "hardsigmoid", "relu6", "logsigmoid"):
    for _ in range(2):
        case(op, getattr(F, op) if hasattr(F, op) else getattr(torch, op), [2 * randn(2, 5)])
case("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), [2 * randn(2, 5)])
for op in ("exp", "sin", "cos", "erf", "expm1", "abs", "square"):
    case(op, getattr(torch, op), [randn(2, 5)])
for op in ("log", "sqrt", "rsqrt", "log1p", "reciprocal"):
    case(op, getattr(torch, op), [randn(2, 5, positive=True)])
for op in ("sum", "mean", "var", "std", "amax", "amin", "prod"):
    for _ in range(4):
        shape = pick([(3, 5), (2, 3, 4)])
        a = {"dim": size(0, len(shape) - 1), "keepdim": pick([True, False])}
        case(op, lambda x: getattr(torch, op)(x, dim=a["dim"], keepdim=a["keepdim"]), [randn(*shape)], a)
for _ in range(8):
    a = {"p": pick([1.0, 2.0, 3.0, float("inf")]), "dim": size(0, 1)}
    case("norm", lambda x: torch.linalg.vector_norm(x, a["p"], a["dim"]), [randn(3, 5)], {"p": "inf" if a["p"] == float("inf") else a["p"], "dim": a["dim"]})
for _ in range(6):
    a = {"dim": size(0, 1)}
    i = torch.randint(0, 3, (2, 3))
    case("gather", lambda x, j: torch.gather(x, a["dim"], j), [randn(4, 4)], a, [i])
    case("index_select", lambda x, j: torch.index_select(x, a["dim"], j), [randn(4, 4)], a, [i.reshape(-1)])
    case("embedding", lambda x, j: F.embedding(j, x), [randn(4, 3)], {}, [i])

# Optimisers: the parameter after five steps, each with its own gradient.
optimisers = []
for name, make, options in (
    [("SGD", torch.optim.SGD, o) for o in ({}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.1}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "weight_decay": 0.01})]
    + [("Adam", torch.optim.Adam, o) for o in ({}, {"weight_decay": 0.01}, {"amsgrad": True}, {"betas": (0.8, 0.95), "eps": 1e-6})]
    + [("AdamW", torch.optim.AdamW, o) for o in ({}, {"weight_decay": 0.1}, {"amsgrad": True})]
    + [("RMSprop", torch.optim.RMSprop, o) for o in ({}, {"momentum": 0.9}, {"centered": True}, {"alpha": 0.9, "weight_decay": 0.01, "centered": True, "momentum": 0.5})]
):
    p = randn(7).requires_grad_(True)
    start, gradients = tensor(p), [randn(7) for _ in range(5)]
    optimiser = make([p], lr=0.05, **options)
    for g in gradients:
        p.grad = g.clone()
        optimiser.step()
    optimisers.append({"optimiser": name, "lr": 0.05, "options": options, "start": start, "gradients": [tensor(g) for g in gradients], "end": tensor(p)})

text = json.dumps({"torch": torch.__version__, "cases": cases, "optimisers": optimisers}, separators=(",", ":"))
with open("oracle.json.gz", "wb") as f, gzip.GzipFile(filename="", mode="wb", fileobj=f, mtime=0) as z:
    z.write(text.encode())
print(len(cases), "cases,", len(optimisers), "optimisers")
