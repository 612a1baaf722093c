"""Studies on real Ray: python .ci/study.py OUT.json [KILLS], or OUT.json again WORD...

Three tiny runs of two trainings (with KILLS or `again` four), one after the other, are what everything else is held
against, byte for byte: two workers, of which one waits for the training it borrows, and a cluster of two nodes, on
which two runs are shared by two processes each, and of which one node is killed while it trains and another while it
predicts.
With KILLS also as many more (SIGKILL at random moments, of driver, worker, run or node, several in each study), a run
in shares, a full disk, a read-only folder and damaged files. What happened is written case by case; a case is fine
when the same command ends in the same bytes.
With `again` the cases whose names hold a word (disk, damaged, workers, shares) are done anew, and all others stay as
they are in OUT.json."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

os.environ.update(OMP_NUM_THREADS="1", RAY_USAGE_STATS_ENABLED="0", TQDM_DISABLE="1", RAY_DEDUP_LOGS="0")

BASE = dict(
    rank=2, epochs=2, train_size=200, validation_size=100, test_size=200, layers=[0, 11], samples=4, link_draws=8,
    subsets=0, prior_grid=[], bootstrap=100,
)
KEPT = (
    "layer_wise_results.json", "summary_table.csv", "predictions.safetensors", "posterior.safetensors", "config.yaml",
    "adapter/adapter_model.safetensors",
)
# two trainings keep both nodes busy; the demo's base is one, since it has the seed
AXES = {"learning_rate": [0.005, 0.003], "structure": ["diag", "kron"]}
WITHOUT = [{"learning_rate": 0.003, "structure": "kron"}] if len(sys.argv) == 2 else []
PATIENCE = 1200  # seconds for a study
OUT = Path(sys.argv[1])
AGAIN = sys.argv[3:] if sys.argv[2:3] == ["again"] else []
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 and not AGAIN else 0
before = json.loads(OUT.read_text()) if AGAIN and OUT.exists() else []
rng, cases = random.Random(0), [c for c in before if not any(word in c["what"] for word in AGAIN)]


def written(scratch, name):
    path = scratch / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"study": str(scratch / name), "base": BASE, "axes": AXES, "without": WITHOUT}))
    return path


def started(source, *options):
    "The command a user types, in a process group of its own."
    command = [Path(sys.executable).parent / "bayes-lora-layers", "study", source, *map(str, options)]
    log = open(source.with_suffix(".log"), "a")
    return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def contents(folder):
    found = {}
    for run in sorted(p for p in folder.iterdir() if "=" in p.name):
        for name in KEPT:
            path = run / name
            found[f"{run.name}/{name}"] = path.read_bytes() if path.exists() else None
    return found


def record(what, source, wanted, code, began, **more):
    here = contents(source.with_suffix(""))
    differ = [k for k in wanted if here.get(k) != wanted[k]]
    fine, seconds = not differ and not code, round(time.time() - began)
    said = "the same bytes" if fine else f"exit code {code}, {len(differ)} files differ: {differ[:2]}"
    cases.append({"what": what, "came of it": said, "fine": fine, "seconds": seconds, **more})
    print(f"{what}: {said} ({seconds} s)", flush=True)
    OUT.write_text(json.dumps(cases, indent=1) + "\n")


def until(condition, process, seconds=PATIENCE):
    "Wait; false when the process ends before."
    end = time.time() + seconds
    while time.time() < end and process.poll() is None:
        if condition(): return True
        time.sleep(0.05)
    return False


def runs_of(folder):
    "Processes of runs."
    found = subprocess.run(["pgrep", "-f", f"study._child.*{folder}"], capture_output=True, text=True).stdout.split()
    return [int(p) for p in found]


def parent_of(pid):
    try: return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError: return 0  # it has just ended


def kill(pids):
    for pid in filter(None, pids):
        try: os.kill(pid, signal.SIGKILL)
        except ProcessLookupError: pass


def version_case(source, address):
    "A cluster of another version is refused by name, before any run starts."
    code = (
        "import ray, sys; ray.__version__ = '0.1'\nfrom bayes_lora_layers.cli import main\n"
        f"sys.exit(main(['study', {str(source)!r}, '--ray', {address!r}]))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    said = told.stderr.strip().splitlines()[-1] if told.stderr.strip() else ""
    fine = told.returncode == 2 and "one version of Ray" in said and not any(source.with_suffix("").glob("*=*"))
    cases.append({"what": "a cluster of another version", "came of it": said[:200], "fine": fine, "seconds": 0})
    print(f"a cluster of another version: {said[:300]}", flush=True)


def cluster_case(scratch, wanted):
    "A node is killed while it trains, and another while it predicts; the study is not started again."
    from ray.cluster_utils import Cluster
    source, began = written(scratch, "cluster"), time.time()
    folder = source.with_suffix("")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        version_case(source, cluster.address)
        process = started(source, "--ray", cluster.address, "--shards", 2, "--only", "structure=diag")
        trains = lambda: any(folder.glob("*/checkpoints/checkpoint-*"))
        predicts = lambda: any(folder.glob("*/partial/*ed.test.*"))  # linearised or sampled
        lost = []
        for stage, condition in (("training", trains), ("predictions", predicts)):
            if not until(condition, process): break
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
            nodes.append(cluster.add_node(num_cpus=1))
            lost.append(stage)
        code = process.wait(PATIENCE)
        asked = {k: v for k, v in wanted.items() if "structure=diag" in k}
        record(f"two nodes, one killed in {', another in '.join(lost)}", source, asked, code, began)
        cases[-1]["fine"] &= len(lost) == 2
    finally: cluster.shutdown()


def shared_case(scratch, wanted):
    "Two processes have a share each in the first run."
    source, began = written(scratch, "shared"), time.time()
    first = next(iter(wanted)).split("/")[0]
    code = started(source, "--workers", 2, "--shards", 2, "--only", first).wait(PATIENCE)
    left = [p.name for p in source.with_suffix("").glob("logs/*-1.log")]
    record("a run in two shares", source, {k: v for k, v in wanted.items() if k.startswith(first)}, code, began)
    cases[-1]["fine"] &= len(left) == 3


def killed_study(scratch, wanted, i, kills):
    "A study on two nodes that is killed again and again; returns how many kills it took before it was done."
    from ray.cluster_utils import Cluster
    source, shards = written(scratch, f"killed{i}"), 1 + i % 2
    folder, began, told = source.with_suffix(""), time.time(), []
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        start = lambda: started(source, "--ray", cluster.address, "--shards", shards)
        process, starts = start(), 1
        while len(told) < kills:
            until(lambda: False, process, rng.uniform(8, 45))
            if process.poll() == 0: break
            if process.poll() is not None: process, starts = start(), starts + 1
            who, stage, runs = rng.choice(("driver", "worker", "run", "run", "node")), stage_of(folder), runs_of(folder)
            if who in ("worker", "run") and not runs: continue
            if who == "driver": kill([process.pid])
            if who == "worker": kill([parent_of(runs[0])])
            if who == "run": kill(runs[:1])
            if who == "node":
                cluster.remove_node(nodes.pop(0), allow_graceful=False)
                nodes.append(cluster.add_node(num_cpus=1))
            told.append((who, stage))
            print(f"  {who} killed, {stage}", flush=True)
        code = process.wait(PATIENCE)
        while code and starts < 40: code, starts = start().wait(PATIENCE), starts + 1
        for who, stage in told:
            record(f"{who} killed, {stage}", source, wanted, code, began, kind="kill", shards=shards, starts=starts)
    finally: cluster.shutdown()
    return len(told)


def stage_of(folder):
    if any(folder.glob("*/partial/*ed.*")): return "in predictions"
    if any(folder.glob("*/partial/curvature.*")): return "in the fit"
    if any(folder.glob("*/posterior.safetensors")): return "after a posterior"
    if any(folder.glob("*/adapter/seal.json")): return "after a training"
    return "in training" if any(folder.glob("*/training.log")) else "before training"


def damage_case(scratch, wanted, name):
    "A file of a finished study is damaged; then the same command."
    source, began = written(scratch, "damaged"), time.time()
    folder = source.with_suffix("")
    if not folder.exists(): shutil.copytree(scratch / "wanted", folder)
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    code = started(source).wait(PATIENCE)
    record(f"{name} damaged", source, wanted, code, began)


def read_only_case(scratch, wanted):
    "The study may not write, and then it may; root may always, so root becomes nobody."
    source, began = written(scratch, "closed"), time.time()
    folder = source.with_suffix("")
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True).returncode:
        print("no mounts here: the full disk and the read-only folder are left out")
        return
    try:
        full = started(source).wait(PATIENCE)
        subprocess.run(["mount", "-o", "remount,size=2g,ro", folder], check=True)
        closed = started(source).wait(PATIENCE)
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
        code = started(source).wait(PATIENCE)
        record(f"disk full (exit code {full}), then read-only ({closed}), then writable", source, wanted, code, began)
        cases[-1]["fine"] &= full == 1 and closed in (1, 2)
    finally: subprocess.run(["umount", folder])


def main():
    with tempfile.TemporaryDirectory() as tmp:
        scratch = Path(tmp)
        os.environ.setdefault("BAYES_LORA_LAYERS_SHARED", str(scratch / "shared"))  # one pretrained demo base
        source, began = written(scratch, "wanted"), time.time()
        if started(source).wait(PATIENCE):
            sys.exit((source.with_suffix(".log")).read_text()[-2000:])
        wanted = contents(source.with_suffix(""))
        runs = 4 - len(WITHOUT)
        assert len(wanted) == runs * len(KEPT) and None not in wanted.values(), "the study is not whole"
        print(f"{runs} runs, one after the other: {time.time() - began:.0f} s", flush=True)
        asked = lambda word: KILLS or word in AGAIN
        if not AGAIN: cluster_case(scratch, wanted)
        done = 0
        for i in range(KILLS):
            if done < KILLS: done += killed_study(scratch, wanted, i, min(10, KILLS - done))
        if asked("shares"): shared_case(scratch, wanted)
        if asked("workers") or not AGAIN:
            source, began = written(scratch, "workers"), time.time()
            record("two workers", source, wanted, started(source, "--workers", 2).wait(PATIENCE), began)
        if asked("disk"): read_only_case(scratch, wanted)
        if asked("damaged"):
            for name in ("study.json", *(f"learning_rate=0.003,structure=kron/{name}" for name in KEPT)):
                damage_case(scratch, wanted, name)
    OUT.write_text(json.dumps(cases, indent=1) + "\n")
    bad = [c["what"] for c in cases if not c["fine"]]
    print(f"{len(cases) - len(bad)} of {len(cases)} cases are fine", *bad, sep="\n")
    return 1 if bad else 0


if __name__ == "__main__": sys.exit(main())
