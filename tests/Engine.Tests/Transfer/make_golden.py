"""Prints the values that RegularizerTests and TransferScoreTests compare with, computed by numpy and PyTorch in float64 from the definitions.
Inputs are waves(seed, n) on both sides. Run: python3 make_golden.py"""
import numpy as np
import torch
import torch.nn.functional as F


def waves(seed, *shape):
    i = np.arange(int(np.prod(shape)), dtype=np.float64)
    return np.sin(seed + 0.7 * i + 0.013 * i * i).reshape(shape)


def t(seed, *shape):
    return torch.tensor(waves(seed, *shape), requires_grad=True)


def show(name, *values):
    print(name, ", ".join(repr(float(v)) for v in values))


def bss(n, d, k):
    x = t(1, n, d)
    s = torch.linalg.svdvals(x)
    loss = (s[-k:] ** 2).sum()
    loss.backward()
    show(f"bss {n}x{d} k={k}", loss, x.grad[0, 0], x.grad[1, 2], x.grad[-1, -1])


bss(4, 6, 1)
bss(7, 3, 2)

logits, teacher = t(1, 4, 5), t(2, 4, 5)
loss = 0.7 * 9 * F.kl_div(F.log_softmax(logits / 3, 1), F.softmax(teacher.detach() / 3, 1), reduction="batchmean")
loss.backward()
show("distillation T=3 w=0.7", loss, logits.grad[0, 0], logits.grad[3, 2])

logits = t(1, 4, 5)
powers = F.softmax(teacher.detach(), 1) ** 0.5  # the paper's form of a softened answer: powers of probabilities, normalised
target = powers / powers.sum(1, keepdim=True)
powers = F.softmax(logits, 1) ** 0.5
answer = powers / powers.sum(1, keepdim=True)
loss = -(target * answer.log()).sum(1).mean()
loss.backward()
show("lwf T=2", loss, logits.grad[0, 0], logits.grad[3, 2])

x, w, b = waves(1, 6, 3, 2, 2), waves(2, 3), waves(3, 3)
mean, var = waves(4, 3), waves(5, 3) ** 2 + 0.5
mean, var = torch.tensor(mean), torch.tensor(var)
by_running = F.batch_norm(torch.tensor(x), mean, var, torch.tensor(w), torch.tensor(b), False, 0.1, 1e-5)
by_batch = F.batch_norm(torch.tensor(x), mean, var, torch.tensor(w), torch.tensor(b), True, 0.1, 1e-5)
show("stochnorm batch", by_batch[0, 0, 0, 0], by_batch[5, 2, 1, 1])
show("stochnorm running", by_running[0, 0, 0, 0], by_running[5, 2, 1, 1])

# Scores.
for n, d in ((30, 4), (12, 20)):
    f = waves(1, n, d)
    y = np.arange(n) % 3
    f = f + (y[:, None] == np.arange(d) % 3) * 0.8

    values, axes = np.linalg.eigh(f @ f.T)

    def evidence(a, b, target):  # log N(target | 0, I / b + f f^T / a) / n, along the covariance's axes
        variance = 1 / b + np.maximum(values, 0) / a
        return -0.5 * np.mean(np.log(2 * np.pi * variance) + (axes.T @ target) ** 2 / variance)

    total = 0
    for c in range(3):
        target = (y == c).astype(float)
        # A grid over log alpha and log beta, then a pattern search: only the definition of the evidence is used.
        grid = [np.array([a, b]) for a in np.arange(-8, 31.0) for b in np.arange(-8, 31.0)]
        at, step = max(grid, key=lambda m: evidence(*np.exp(m), target)), 1.0
        while step > 1e-9:
            moves = [at + step * np.array(m) for m in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1))]
            found = [evidence(*np.exp(np.clip(m, -40, 40)), target) for m in moves]
            k = int(np.argmax(found))
            best = found[k]
            at = moves[k]
            if k == 0:
                step /= 2
        total += best
    show(f"logme {n}x{d}", total / 3)

    g = np.stack([f[y == c].mean(0) for c in y])
    show(f"hscore {n}x{d}", np.trace(np.linalg.pinv(np.cov(f, rowvar=False), rcond=1e-10) @ np.cov(g, rowvar=False)))

    z = f - f.mean(0)
    s = z.T @ z / n
    mu = np.trace(s) / d
    delta = ((s - mu * np.eye(d)) ** 2).sum() / d
    beta = min(delta, sum(((np.outer(r, r) - s) ** 2).sum() for r in z) / n ** 2 / d)
    a = beta / delta
    gz = g - g.mean(0)
    show(f"regularised hscore {n}x{d}", np.trace(np.linalg.inv((1 - a) * s + a * mu * np.eye(d)) @ ((1 - a) * gz.T @ gz / n)))

theta = torch.softmax(torch.tensor(waves(1, 10, 4) * 2), 1).numpy()
y = np.arange(10) % 3
joint = np.array([[theta[y == c, k].sum() / 10 for k in range(4)] for c in range(3)])
show("leep", np.mean([np.log((joint[y[i]] / joint.sum(0) * theta[i]).sum()) for i in range(10)]))
z = theta.argmax(1)
print("z", list(z))
p = np.array([[np.mean((y == c) & (z == k)) for k in range(4)] for c in range(3)])
with np.errstate(all="ignore"):
    show("nce", np.nansum(p * np.log(p / p.sum(0))))
relation = np.array([theta[y == c].mean(0) for c in range(3)])
show("relationship", relation[0, 0], relation[2, 3])
logits = waves(2, 10, 4)
show("cotuning", -2.3 * np.mean((relation[y] * torch.log_softmax(torch.tensor(logits), 1).numpy()).sum(1)))
