#!/usr/bin/env python3
"""Times whole processes by turns, from their start to the first finished work, and prints both sides' medians in milliseconds.

usage: cold-start.py --ours DLL --peer 'CMD' [--rounds 7]

DLL is benchmarks/ColdStart, published; it is started once with "mlp" (a first training step) and once with "resnet18" (a first inference). CMD is a build
of the peers' TorchSharp runner that returns after its first run; it is called as  CMD WORKLOADS NAME  with the shared workload file.
"""
import argparse, os, shlex, statistics, subprocess, sys, time

def run(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - start)

def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser()
    p.add_argument("--ours", required=True); p.add_argument("--peer", required=True); p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--workloads", default=os.path.join(here, "../../shared/peers/workloads.json"))
    a = p.parse_args()
    size = sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(os.path.dirname(a.ours)) for name in names)
    print(f"published size {size / 2**20:.1f} MiB")
    for ours, peer in (("mlp", "step/mlp/784-512-256-10/128"), ("resnet18", "infer/resnet18/224x224/1")):
        pairs = [(run(["dotnet", a.ours, ours]), run(shlex.split(a.peer) + [a.workloads, peer])) for _ in range(a.rounds)]
        print(f"{ours:10} ours {statistics.median(o for o, _ in pairs):6.0f}   peer {statistics.median(q for _, q in pairs):6.0f}   "
              f"ours / peer {statistics.median(o / q for o, q in pairs):.2f}")
    return 0

sys.exit(main())
