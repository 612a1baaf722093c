"""Do a change's results stay as they were? python .ci/same.py FOLDER runs what a rewrite must not change and keeps its
result files; python .ci/same.py FOLDER BEFORE also compares them with an earlier such folder, byte for byte but for
schema, and for fields that are new."""

import json
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TQDM_DISABLE"] = "1"
warnings.filterwarnings("ignore")
import datasets
import torch
import transformers

from bayes_lora_layers.config import Config
from bayes_lora_layers.results import read_run
from bayes_lora_layers.sweep import run_sweep
from bayes_lora_layers.verdict import analyse

root, before = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None
transformers.logging.set_verbosity_error()
datasets.disable_progress_bars()
SMALL = dict(
    rank=4, epochs=10, train_size=200, samples=8, link_draws=32, test_size=300, validation_size=100, bootstrap=500
)
DEEP = Path("/tmp/vit-of-18-layers")  # one place, since its name is in the results
SHARED = Path("../shared").resolve()
REAL = dict(
    dataset=f"{SHARED}/data/cifar100",
    model=f"{SHARED}/models/deit-tiny-patch16-224",
    max_classes=10,
    train_size=200,
    validation_size=50,
    test_size=50,
    image_size=64,
    epochs=3,
    learning_rate=0.005,
    samples=5,
    bootstrap=500,
    layers=[0, 11],
)
RUNS = {
    "digits": {},
    "kron": {**SMALL, "structure": "kron"},
    "nosubsets": {**SMALL, "subsets": 0},
    "orders": {**SMALL, "model": str(DEEP), "epochs": 3, "learning_rate": 0.003},
    "forward": {**SMALL, "engine": "forward"},
    "perlayer": {**SMALL, "structure": "kron", "kfac": "reduce", "laplace_prior_precision": "evidence-per-layer"},
    "validation": {**SMALL, "laplace_prior_precision": "validation"},
    "own": {**SMALL, "laplace_prior_precision": "validation-per-layer"},
    "groups": {**SMALL, "groups": {"two": [0, 1], "last ones": [9, 10, 11]}, "layers": [0, 5, 11]},
    "baselines": {**SMALL, "baselines": ["mc-dropout", "ensemble"], "lora_dropout": 0.1, "ensemble_size": 2},
    "parts": {**SMALL, "sampled_parts": True, "target_modules": ["q", "v", "o"]},
    "sampled": {**SMALL, "predictives": ["sampled"]},
    "mc": {**SMALL, "curvature": "mc", "prior_grid": [], "checkpoint": "best"},
}
if Path(REAL["model"]).exists():
    RUNS |= {
        "deit": REAL,
        "deit_kron": {**REAL, "structure": "kron", "curvature": "mc", "adapter": str(root / "deit/adapter")},
    }


def deep_vit() -> None:
    "An untrained ViT of 18 layers, which is too many for all sets."
    torch.manual_seed(0)
    sizes = dict(
        hidden_size=32,
        num_hidden_layers=18,
        num_attention_heads=2,
        intermediate_size=48,
        image_size=8,
        patch_size=4,
        num_labels=10,
    )
    transformers.ViTForImageClassification(transformers.ViTConfig(**sizes)).save_pretrained(DEEP)
    transformers.ViTImageProcessor(
        size={"height": 8, "width": 8}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(DEEP)


def differences(a, b, at: str = "") -> list[str]:
    "Where two JSON values differ; keys that only the later one has are new, and no difference."
    if isinstance(a, dict) and isinstance(b, dict):
        lost = [f"{at}/{k} is gone" for k in a if k not in b]
        return lost + [
            d
            for k in a
            if k in b and k not in ("checksum", "schema", "adapter")
            for d in differences(a[k], b[k], f"{at}/{k}")
        ]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [d for i in range(len(a)) for d in differences(a[i], b[i], f"{at}/{i}")]
    return [] if type(a) is type(b) and a == b else [f"{at}: {str(a)[:160]} -> {str(b)[:160]}"]


if not DEEP.exists():
    deep_vit()
for name, values in RUNS.items():
    run_sweep(Config(**values, output_dir=str(root / name)))
    analyse(read_run(root / name))
    print(name, "done", flush=True)
changed = 0
for name in RUNS if before else ():
    for file in ("layer_wise_results.json", "analysis_summary.json"):
        found = differences(*(json.loads((folder / name / file).read_text()) for folder in (before, root)))
        print(name, file, "the same" if not found else "\n  ".join([f"{len(found)} values differ", *found[:4]]))
        changed += bool(found)
    same = (before / name / "summary_table.csv").read_bytes() == (root / name / "summary_table.csv").read_bytes()
    print(name, "summary_table.csv", "the same" if same else "differs")
    changed += not same
sys.exit(bool(changed))
