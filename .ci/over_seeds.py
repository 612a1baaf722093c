"""What the study needs of several runs' predictions: python .ci/over_seeds.py OUT.json same|disjoint RUN_FOLDERS...
writes for each predictive and metric how far the runs' errors are correlated because they share test images, and how
reliably each run tells its layers apart."""

import json
import sys
from pathlib import Path

import numpy as np

from bayes_lora_layers.attribution import shared_error
from bayes_lora_layers.intervals import paired_gains, reliability, resample_counts
from bayes_lora_layers.results import read_run

out, images, folders = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
runs = [read_run(f) for f in folders]
if images == "same" and any((r.labels != runs[0].labels).any() for r in runs):
    sys.exit("the runs do not share their test images")
found = {}
for predictive in runs[0].results.predictives:
    found[predictive] = {}
    for name in ("ece", "adaptive_ece", "smooth_ece", "nll", "brier", "accuracy"):
        reliable = []
        for run in runs:
            counts = resample_counts(len(run.labels), 500, 0, run.labels)  # the same resamples for all runs
            gains = paired_gains(run.metrics[name], run.at_map(), list(run.scores(predictive).alone.values()), counts)
            draws = gains.draws - gains.draws.mean(0)
            around = lambda at: reliability(
                gains.estimate[at], (draws[:, at] - draws[:, at].mean(1, keepdims=True)).std(0)
            )
            reliable.append(
                {
                    "all": around(list(range(len(run.swept)))),
                    "0 to 8": around([i for i, l in enumerate(run.swept) if l < 9]),
                }
            )
        found[predictive][name] = {
            "shared": shared_error(runs, predictive, name, runs[0].swept) if images == "same" else 0.0,
            "reliability": {k: [r[k] for r in reliable] for k in reliable[0]},
        }
        print(
            predictive,
            name,
            found[predictive][name]["shared"],
            {k: round(float(np.mean(v)), 3) for k, v in found[predictive][name]["reliability"].items()},
        )
out.write_text(json.dumps(found, separators=(",", ":")) + "\n")
