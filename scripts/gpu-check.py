#!/usr/bin/env python3
"""Tests and measures the engine on a graphics card, on a machine that has neither the .NET SDK nor a network.

usage: scripts/gpu-check.py pack FOLDER --peer torch_gpu.py --workloads workloads.json     here: publishes one self-contained program into FOLDER
       FOLDER/gpu-check.py run --out OUT [--device cuda] [--limit 540] [options]            there: every step, each with its share of the limit

A run writes into OUT after every step, so that what was done stands if it is cut off: report.md (the table), report.json (the same, for programs), tests-*.jsonl
and steps.log. Steps: what the machine is; the tests of kernels and operators on the device, and on OpenCL if the driver offers a graphics processor there;
the first training step of a first process, of a second one, and of one that warms up; the peak rates; and the workloads beside PyTorch, by turns, in fresh processes. Leave steps out with --skip, for instance --skip opencl,peak.
With --sanitizer, the tests run once more under compute-sanitizer (memcheck), those whose names hold --sanitizer-filter.
"""
import argparse, datetime, json, math, os, shutil, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = "TransferEngine.Card"
PRECISIONS = ("fp32", "tf32", "bf16")


def pack(a):
    root = os.path.dirname(HERE)
    os.makedirs(a.folder, exist_ok=True)
    subprocess.run(["dotnet", "publish", "-c", "Release", "-r", "linux-x64", "--self-contained", "-p:PublishSingleFile=true", "-p:DebugType=none",
                    "-p:PublishReferencesDocumentationFiles=false", "-v", "q", "-nologo",
                    "-o", a.folder, os.path.join(root, "benchmarks", "Card")], check=True)
    for source in (a.peer, a.workloads, os.path.join(root, "benchmarks", "gpu.json"), os.path.abspath(__file__)):
        shutil.copy(source, a.folder)
    os.replace(os.path.join(a.folder, os.path.basename(a.workloads)), os.path.join(a.folder, "workloads.json"))
    os.replace(os.path.join(a.folder, os.path.basename(a.peer)), os.path.join(a.folder, "peer.py"))
    size = sum(os.path.getsize(os.path.join(a.folder, name)) for name in os.listdir(a.folder))
    print(f"{a.folder}: {size / 2**20:.1f} MiB")


class Report:
    """What is known so far; written whole after every step."""

    def __init__(self, folder):
        self.folder, self.data = folder, {"date": datetime.date.today().isoformat(), "machine": {}, "tests": {}, "first": {}, "peak": {}, "workloads": {}, "steps": []}
        os.makedirs(folder, exist_ok=True)

    def write(self):
        for name, text in (("report.json", json.dumps(self.data, indent=1)), ("report.md", self.table())):
            with open(os.path.join(self.folder, name + ".part"), "w") as file:
                file.write(text + "\n")
            os.replace(os.path.join(self.folder, name + ".part"), os.path.join(self.folder, name))

    def table(self):
        d = self.data
        lines = [f"# {d['machine'].get('device', 'a graphics card')}, {d['date']}", ""]
        lines += [f"- {key}: {value}" for key, value in d["machine"].items()]
        lines += ["", "| tests on | passed | failed | skipped | seconds | |", "|---|---|---|---|---|---|"]
        lines += [f"| {name} | {t['passed']} | {t['failed']} | {t['skipped']} | {t['seconds']:.0f} | {t['note']} |" for name, t in d["tests"].items()]
        for name, t in d["tests"].items():
            lines += [f"- {name}: {row['name']}: {row['message'][:300]}" for row in t["failures"]]
        if d["first"]:
            lines += ["", "| from the start of a process to the end of its first training step | ms |", "|---|---|"] + [f"| {name} | {ms:.0f} |" for name, ms in d["first"].items()]
        if d["peak"]:
            lines += ["", "| rate | median | best | |", "|---|---|---|---|"] + [f"| {name} | {r['median']} | {r['best']} | {r['unit']} |" for name, r in d["peak"].items()]
        if d["workloads"]:
            lines += ["", "Milliseconds: ours from the host's clock around a call and a synchronisation, the peer's from device events around a call; medians, the best round of each.",
                      "Speed-up = peer / ours.", "", "| workload | precision | ours ms | peer ms | speed-up |", "|---|---|---|---|---|"]
            ratios = []
            for (name, precision), w in sorted(((tuple(key.split("|")), w) for key, w in d["workloads"].items()), key=lambda item: item[0][1]):
                ours, peer = min(w["ours"], default=None), min(w["peer"], default=None)
                if ours and peer:
                    ratios.append(peer / ours)
                cell = lambda value: "" if value is None else f"{value:.4f}"
                lines.append(f"| {name} | {precision} | {cell(ours)} | {cell(peer)} | {f'{peer / ours:.2f}' if ours and peer else ''} |")
            if ratios:
                lines += ["", f"{len(ratios)} compared, {sum(r < 1 for r in ratios)} behind the peer, geometric mean {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}."]
        lines += ["", "| step | seconds | ended |", "|---|---|---|"] + [f"| {s['name']} | {s['seconds']:.0f} | {s['ended']} |" for s in d["steps"]]
        return "\n".join(lines)


class Run:
    def __init__(self, a):
        self.a, self.report, self.end = a, Report(a.out), time.monotonic() + a.limit

    def call(self, name, command, share, **variables):
        """Runs a step for at most its share of the time that is left; returns the JSON lines of its output."""
        left = self.end - time.monotonic()
        limit, start, log = min(share, left), time.monotonic(), os.path.join(self.a.out, "step.part")
        ended = "no time was left"
        rows = []
        if limit > 5:
            with open(log, "w") as out:
                try:
                    ended = f"exit code {subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, timeout=limit, env={**os.environ, **variables}).returncode}"
                except subprocess.TimeoutExpired:
                    ended = f"stopped after {limit:.0f} s"
                except OSError as e:
                    ended = str(e)
            for line in open(log, errors="replace"):
                try:
                    row = json.loads(line)
                    if isinstance(row, dict):
                        rows.append(row)
                except ValueError:
                    pass
            with open(os.path.join(self.a.out, "steps.log"), "a") as all, open(log, errors="replace") as out:
                all.write(f"== {name}: {' '.join(command)}\n")
                shutil.copyfileobj(out, all)
            os.unlink(log)
        self.report.data["steps"].append({"name": name, "seconds": time.monotonic() - start, "ended": ended})
        print(f"{name}: {ended}, {time.monotonic() - start:.0f} s", flush=True)
        return rows, ended

    def ours(self, *words):
        return [os.path.join(HERE, PROGRAM), *words]

    def machine(self):
        rows, _ = self.call("devices", self.ours("devices"), 60)
        facts = self.report.data["machine"]
        for i, row in enumerate(rows):
            facts[f"device {i}"] = f"{row['device']}, {row['units']} units, {row['memory_mib']} MiB"
            if row["device"].startswith(self.a.device):
                facts.setdefault("device", row["device"].partition(" ")[2])
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm", "--format=csv,noheader"]
        if shutil.which("nvidia-smi"):
            facts["nvidia-smi"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
        versions = "import torch; print(torch.__version__, torch.version.cuda, torch.backends.cudnn.version())"
        got = subprocess.run([self.a.python, "-c", versions], capture_output=True, text=True)
        facts["peer"] = "PyTorch " + got.stdout.strip() if got.returncode == 0 else "no PyTorch here"
        self.report.write()
        return rows

    def tests(self, machine, share, prefix=(), name=None, filter=""):
        name, start = name or machine, time.monotonic()
        rows, ended = self.call(f"tests-{name}", [*prefix, *self.ours("tests", machine, filter)], share)
        cases = [row for row in rows if "outcome" in row]
        with open(os.path.join(self.a.out, f"tests-{name}.jsonl"), "w") as file:
            file.writelines(json.dumps(row) + "\n" for row in cases)
        count = lambda outcome: sum(row["outcome"] == outcome for row in cases)
        self.report.data["tests"][name] = {"passed": count("passed"), "failed": count("failed"), "skipped": count("skipped"), "seconds": time.monotonic() - start,
                                           "note": ended if not rows or "passed" not in rows[-1] else "", "failures": [row for row in cases if row["outcome"] == "failed"]}
        self.report.write()

    def first_steps(self):
        folder = os.path.join(self.a.out, "kernels")
        for model in ("lenet", "resnet18"):
            shutil.rmtree(folder, ignore_errors=True)
            for turn, words in (("a first process", ()), ("a second one", ()), ("one that warms up", ("--warm-up",))):
                rows, _ = self.call(f"first-step-{model}", self.ours("first-step", model, *words, "--device", self.a.device), 60, TRANSFERENGINE_KERNEL_CACHE=folder)
                self.report.data["first"].update({f"{model}, {turn}": row["ms"] for row in rows if "ms" in row})
                self.report.write()
        shutil.rmtree(folder, ignore_errors=True)

    def peak(self):
        rows, _ = self.call("peak", self.ours("peak", "3", "--device", self.a.device), 60)
        self.report.data["peak"] = {row["name"]: row for row in rows if "best" in row}
        self.report.write()

    def workloads(self, file, share):
        path, seconds = os.path.join(HERE, file), str(self.a.seconds)
        for turn in range(self.a.rounds):
            for precision in self.a.precision.split(","):
                ours = self.ours("workloads", path, self.a.filter, seconds, "--device", self.a.device, "--precision", precision, *(f"--{name}" for name in ("tuned", "graphs", "async-copies") if getattr(self.a, name.replace("-", "_"))))
                peer = [self.a.python, os.path.join(HERE, "peer.py"), path, self.a.filter, seconds, "--precision", precision, "--device", self.a.peer_device]
                for side, command in (("ours", ours), ("peer", peer)):
                    rows, _ = self.call(f"{os.path.splitext(file)[0]}-{precision}-{side}-{turn}", command, share)
                    for row in (row for row in rows if "ms" in row):
                        cell = self.report.data["workloads"].setdefault(f"{row['name']}|{precision}", {"ours": [], "peer": []})
                        cell[side].append(row["ms"])
                    self.report.write()


def run(a):
    os.makedirs(a.out, exist_ok=True)
    open(os.path.join(a.out, "steps.log"), "w").close()
    unknown = set(a.precision.split(",")) - set(PRECISIONS)
    if unknown:
        sys.exit(f"--precision: {', '.join(sorted(unknown))}? Known are {', '.join(PRECISIONS)}.")
    skip, work = set(a.skip.split(",")), Run(a)
    devices = work.machine()
    if "tests" not in skip:
        work.tests({"cpu": "direct"}.get(a.device, a.device), a.limit * 0.3, filter=a.tests)
    if "opencl" not in skip and a.device != "opencl" and any(row["device"].startswith("opencl") and row["graphics"] for row in devices):
        work.tests("opencl", a.limit * 0.15, filter=a.tests)
    if a.sanitizer:
        work.tests(a.device, a.limit * 0.2, ["compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "9"], f"{a.device}-memcheck", a.sanitizer_filter)
    if "first" not in skip:
        work.first_steps()
    if "peak" not in skip:
        work.peak()
    for file in (file for file in ("workloads.json", "gpu.json") if file not in skip):
        work.workloads(file, a.limit * 0.2)
    failed = sum(t["failed"] for t in work.report.data["tests"].values())
    print(work.report.table())
    return 1 if failed else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = p.add_subparsers(dest="verb", required=True)
    q = verbs.add_parser("pack")
    q.add_argument("folder"); q.add_argument("--peer", required=True); q.add_argument("--workloads", required=True)
    q = verbs.add_parser("run")
    q.add_argument("--out", required=True); q.add_argument("--device", default="cuda"); q.add_argument("--limit", type=float, default=540, help="seconds of all steps together")
    q.add_argument("--rounds", type=int, default=2); q.add_argument("--seconds", type=float, default=0.2, help="of one workload"); q.add_argument("--filter", default="", help="of workloads")
    q.add_argument("--tests", default="", help="part of the names of the tests that run"); q.add_argument("--precision", default="fp32", help="one or several of the peer's, with commas")
    q.add_argument("--skip", default="", help="some of tests,opencl,first,peak,workloads.json,gpu.json"); q.add_argument("--python", default="python3", help="the one that has PyTorch")
    q.add_argument("--peer-device", default="cuda"); q.add_argument("--tuned", action="store_true", help="float32 products by the tuned kernel, too")
    q.add_argument("--graphs", action="store_true", help="captured steps as CUDA graphs"); q.add_argument("--async-copies", action="store_true", help="copies to the device that the host does not wait for")
    q.add_argument("--sanitizer", action="store_true"); q.add_argument("--sanitizer-filter", default="MatMul")
    a = p.parse_args()
    return pack(a) if a.verb == "pack" else run(a)


sys.exit(main())
