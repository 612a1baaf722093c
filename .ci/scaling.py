"""What workers and shares bring: python .ci/scaling.py OUT.json, on a machine with two cores that does nothing else.

Two runs of the embedded demo, one after the other and by two workers, and the first of them by one process and in two
shares; each twice, in turns. The page `nbs/benchmarks/scaling.ipynb` shows what came of it, and goes on from there."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

os.environ.update(OMP_NUM_THREADS="1", RAY_USAGE_STATS_ENABLED="0", TQDM_DISABLE="1")
BASE = dict(
    epochs=2, train_size=200, validation_size=128, test_size=256, samples=10, prior_grid=[], subsets=0, bootstrap=100
)
WAYS = {
    "two runs, one after the other": ("--workers", 1),
    "two runs, two workers": ("--workers", 2),
    "one run, one process": ("--only", "seed=0"),
    "one run, two shares": ("--only", "seed=0", "--workers", 2, "--shards", 2),
}


def measured(source, options):
    "Seconds of a whole study from nothing, and what its runs say of theirs."
    folder, began = source.with_suffix(""), time.perf_counter()
    command = [Path(sys.executable).parent / "bayes-lora-layers", "study", source, *map(str, options)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    told = [json.loads(p.read_text())["seconds"] for p in sorted(folder.glob("seed=*/environment.json"))]
    shutil.rmtree(folder)
    return {"seconds": seconds, "stages": told}


def main(out):
    with tempfile.TemporaryDirectory() as tmp:
        os.environ["BAYES_LORA_LAYERS_SHARED"] = f"{tmp}/shared"  # the pretrained base of the demo, made once
        source = Path(tmp) / "scaling.yaml"
        source.write_text(yaml.safe_dump({"study": f"{tmp}/scaling", "base": BASE, "axes": {"seed": [0, 1]}}))
        measured(source, WAYS["two runs, two workers"])  # makes the bases
        found = {way: [] for way in WAYS}
        for _ in range(2):
            for way, options in WAYS.items():
                found[way].append(measured(source, options))
                print(f"{way}: {found[way][-1]['seconds']:.0f} s", flush=True)
    from bayes_lora_layers.config import describe_machine, find_device
    machine = {**describe_machine(find_device("cpu")), "cores": os.cpu_count()}
    sizes = {k: BASE[k] for k in ("validation_size", "test_size")}
    out.write_text(json.dumps({"schema": 1, "machine": machine, "sizes": sizes, "ways": found}, indent=1) + "\n")


if __name__ == "__main__": main(Path(sys.argv[1]))
