#!/usr/bin/env python3
"""Measures every workload against the peer, and writes a table with the floors that its operations and its bytes set on this machine.

usage: scripts/cpu-table.py --compare COMPARE.PY --peer 'CMD' --out FILE.md [--rounds 5] [--seconds 0.5] [--rows FILE.json] [--note TEXT]

COMPARE.PY is what runs both sides by turns, and its folder has workloads.json. Build first: dotnet build -c Release benchmarks. With --rows, measurements
that COMPARE.PY wrote before (its --json) are taken instead of new ones. The machine's rates are measured in the same run, before and after.
"""
import argparse, datetime, json, math, os, platform, subprocess, sys

BENCHMARKS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "benchmarks", "bin", "Release", "net10.0", "TransferEngine.Benchmarks.dll")
WORD = 4  # bytes of a float32


def convolution(n, c, h, w, o, k, s, p, g, backward, input_gradient=True):
    """Operations, and bytes: each operand is read once a pass that needs it, each result is written once."""
    oh, ow = (h + 2 * p - k) // s + 1, (w + 2 * p - k) // s + 1
    flops = 2 * n * o * oh * ow * c // g * k * k
    x, weight, y = n * c * h * w, o * c // g * k * k, n * o * oh * ow
    if not backward:
        return flops, WORD * (x + weight + y), (oh, ow)
    passes = 3 if input_gradient else 2
    return flops * passes, WORD * (x * passes + weight * passes + 2 * y), (oh, ow)


def linear(n, inputs, outputs, backward, input_gradient=True):
    flops, numbers = 2 * n * inputs * outputs, n * inputs + inputs * outputs + n * outputs
    passes = 1 if not backward else 3 if input_gradient else 2
    return flops * passes, WORD * numbers * passes


def update(parameters):
    """Gradient descent with momentum: reads weight, gradient and momentum, writes weight and momentum."""
    return 4 * parameters, WORD * 5 * parameters


def resnet18(n, size, trained):
    """The convolutions and the last layer; normalisations and activations are taken to be fused into them. trained: nothing, the head, or all."""
    layers, width = [(3, 64, 7, 2, 3)], 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [(width, outputs, 3, stride, 1), (outputs, outputs, 3, 1, 1), (outputs, outputs, 3, 1, 1), (outputs, outputs, 3, 1, 1)]
        if stride == 2:
            layers.append((width, outputs, 1, 2, 0))
        width = outputs
    flops = total = parameters = 0
    side, entered = size, {}
    for i, (c, o, k, s, p) in enumerate(layers):
        here = entered[c] if k == 1 else side
        entered.setdefault(o, side if k == 3 and s == 2 else here)
        if k == 3 and s == 2:
            entered[c] = side
        f, b, (after, _) = convolution(n, c, here, here, o, k, s, p, 1, trained == "all", i > 0)
        flops, total, parameters = flops + f, total + b, parameters + c * o * k * k
        if k != 1:
            side = after // 2 if i == 0 else after
    f, b = linear(n, 512, 1000, trained != "nothing", trained == "all")
    if trained == "nothing":
        return flops + f, total + b
    uf, ub = update(512 * 1000 + (parameters if trained == "all" else 0))
    return flops + f + uf, total + b + ub


def chain(*parts):
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


def cost(w):
    """Floating-point operations and bytes of a workload."""
    op, backward = w["op"], w.get("kind") == "fwdbwd"
    if op == "matmul":
        m, n, k = w["m"], w["n"], w["k"]
        return 2 * m * n * k, WORD * (m * k + k * n + m * n)
    if op == "conv2d":
        return convolution(*(w[key] for key in "nchwoksp"), w["g"], backward)[:2]
    if op in ("add", "relu", "gelu", "exp", "sum"):
        # Operations of an element: one, or those of a polynomial of seven coefficients (exp), a quotient of two such (GELU).
        return {"add": 1, "relu": 1, "gelu": 28, "exp": 20, "sum": 1}[op] * w["size"], WORD * {"add": 3, "sum": 1}.get(op, 2) * w["size"]
    if op in ("softmax", "layernorm"):
        # y = f(x), times weights, summed; back: the weights and y (or x) give dx.
        n = w["rows"] * w["cols"]
        return (28 if op == "softmax" else 16) * n, WORD * 5 * n
    if op == "crossentropy":
        n = w["rows"] * w["cols"]
        return 26 * n, WORD * 3 * n
    if op == "batchnorm":
        n = w["n"] * w["c"] * w["h"] * w["w"]
        return 14 * n, WORD * 6 * n
    if op == "maxpool":
        n, s = w["n"] * w["c"] * w["h"] * w["w"], w["s"]
        return w["k"] ** 2 * n // (s * s), WORD * (2 * n + 2 * n // (s * s))
    if op == "mkmmd":
        n, d = 2 * w["rows"], w["cols"]
        # Half of the inner products, by symmetry, five exponentials a pair, and the gradient's product.
        return n * n * d + 2 * n * n * d + 5 * 20 * n * n, WORD * (3 * n * d + 3 * n * n)
    if op == "mlp":
        n, sizes = w["batch"], (784, 512, 256, 10)
        pairs = list(zip(sizes, sizes[1:]))
        if w["kind"] == "infer":
            return chain(*(linear(n, i, o, False) for i, o in pairs))
        return chain(*(linear(n, i, o, True, i != 784) for i, o in pairs), update(sum(i * o + o for i, o in pairs)))
    if op == "lenet":
        n = w["batch"]
        return chain(convolution(n, 1, 28, 28, 20, 5, 1, 0, 1, True, False)[:2], convolution(n, 20, 12, 12, 50, 5, 1, 0, 1, True)[:2],
                     linear(n, 800, 500, True), linear(n, 500, 10, True), update(431_080))
    if op in ("resnet18", "resnet18-frozen"):
        return resnet18(w["batch"], w["size"], "nothing" if w["kind"] == "infer" else "head" if "frozen" in op else "all")
    raise SystemExit(f"no cost is known for {op}: add it to {__file__}")


def peak():
    rows = {}
    for line in subprocess.run(["dotnet", BENCHMARKS, "peak", "5"], capture_output=True, text=True, check=True).stdout.splitlines():
        row = json.loads(line)
        rows[row["name"]] = row
    return rows


def processor():
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.processor())
    system = next((line.split("=")[1].strip().strip('"') for line in open("/etc/os-release") if line.startswith("PRETTY_NAME")), platform.platform())
    return f"{os.cpu_count()} cores of {model}, {system}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--compare", required=True); p.add_argument("--peer", required=True); p.add_argument("--out", required=True)
    p.add_argument("--rounds", type=int, default=5); p.add_argument("--seconds", type=float, default=0.5)
    p.add_argument("--rows", action="append"); p.add_argument("--note", default="")
    a = p.parse_args()
    workloads = json.load(open(os.path.join(os.path.dirname(os.path.abspath(a.compare)), "workloads.json")))["workloads"]
    before = peak()
    if a.rows:
        measured = [row for file in a.rows for row in json.load(open(file))]
    else:
        raw = a.out + ".json"
        subprocess.run([sys.executable, a.compare, "--ours", f"dotnet {os.path.abspath(BENCHMARKS)} workloads", "--peer", a.peer, "--rounds", str(a.rounds), "--seconds", str(a.seconds), "--json", raw], check=True)
        measured = json.load(open(raw))
        os.unlink(raw)
    after = peak()
    measured = {row["name"]: row for row in measured}
    rate = {name: max(before[name]["best"], after[name]["best"]) for name in before}
    flops, stream = rate["multiply-add/float32"] * 1e9, rate["copy (bytes read and written)"] * 1e9
    lines = [
        f"# CPU against TorchSharp, {datetime.date.today()}", "",
        f"{processor()}; peer: TorchSharp 0.107 (libtorch 2.10, CPU) on the same cores. `scripts/cpu-table.py`: {a.rounds} rounds of {a.seconds} s a workload, each in a fresh",
        "process of each side by turns; speed-up = the median over the rounds of peer ms / our ms.", "",
        f"The same run measured {flops / 1e9:.0f} GFLOP/s of float32 multiply-adds that stay in registers, and {stream / 1e9:.1f} GB/s of a copy that no cache holds (read and written). Floors",
        "are operations and bytes over these. A floor of bytes in brackets is of memory that the last-level cache holds: it may be beaten. Winograd's 3x3 convolutions",
        "need fewer operations than counted, so they may beat theirs. Models count convolutions and linear layers only, everything else fused into them.", ""]
    if a.note:
        lines += [a.note, ""]
    lines += ["| workload | ours ms | peer ms | speed-up | Mflop | floor ms | MB | floor ms | of the larger floor |", "|---|---|---|---|---|---|---|---|---|"]
    ratios = []
    for w in workloads:
        row, (f, b) = measured.get(w["name"], {}), cost(w)
        by_flops, by_bytes = f / flops * 1e3, b / stream * 1e3
        bytes_cell = f"{by_bytes:.4f}" if b > 24e6 else f"({by_bytes:.4f})"
        if "speedup" not in row:
            lines.append(f"| {w['name']} | not measured ({row.get('why', 'no row')}) | | | {f / 1e6:.1f} | {by_flops:.4f} | {b / 1e6:.2f} | {bytes_cell} | |")
            continue
        ratios.append(row["speedup"])
        larger = max(by_flops, by_bytes if b > 24e6 else 0)
        lines.append(f"| {w['name']} | {row['ours_ms']:.4f} | {row['peer_ms']:.4f} | {row['speedup']:.2f} | {f / 1e6:.1f} | {by_flops:.4f} | {b / 1e6:.2f} | {bytes_cell} | {100 * larger / row['ours_ms']:.0f} % |")
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    lines += ["", f"{len(ratios)} of {len(workloads)} measured, {sum(r < 1 for r in ratios)} behind the peer, geometric mean of the speed-ups {mean:.2f}.", "",
              "| rate | before: median | best | after: median | best |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {row['median']} {row['unit']} | {row['best']} | {after[name]['median']} | {after[name]['best']} |" for name, row in before.items()]
    with open(a.out + ".part", "w") as file:
        file.write("\n".join(lines) + "\n")
    os.replace(a.out + ".part", a.out)
    print(lines[-len(before) - 3 - 1])


main()
