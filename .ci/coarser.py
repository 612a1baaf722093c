"The study's coarser posteriors around a finished run's MAP: python .ci/coarser.py RUN_FOLDER factor|none NEW_FOLDER repeats the linearised sweep with one variance a factor, or with the prior's alone."
import sys
from pathlib import Path

import torch
import yaml
from laplace import DiagLaplace

from bayes_lora_layers.attribution import analyse, read_run
from bayes_lora_layers.laplace import STRUCTURES
from bayes_lora_layers.sweep import config_from, read_results, run_sweep


class PerFactor(DiagLaplace):
    "One variance for each factor, of its average curvature."
    _key = ("all", "shared")

    def fit(self, *args, **kwargs):
        super().fit(*args, **kwargs)
        self.H = torch.cat([h.mean().expand_as(h) for h in self.H.split([p.numel() for p in self.params])])


class PriorOnly(DiagLaplace):
    "No curvature."
    _key = ("all", "prior")

    def fit(self, *args, **kwargs):
        super().fit(*args, **kwargs)
        self.H = torch.zeros_like(self.H)


STRUCTURES |= {"shared": PerFactor, "prior": PriorOnly}
if len(sys.argv) != 4 or sys.argv[2] not in ("factor", "none"): sys.exit(__doc__)
run, kind, out = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
config = yaml.safe_load((run / "config.yaml").read_text())
config |= {"adapter": config["adapter"] or str(run / "adapter"), "predictives": ["linearised"], "subsets": 0, "prior_grid": [], "sampled_parts": False, "output_dir": out}
if config["model"] == "tiny-vit": config["model"] = str(run / "pretrained" / "model")
config |= {"factor": {"structure": "shared"}, "none": {"structure": "prior", "laplace_prior_precision": read_results(run)["prior_precision"][0]}}[kind]
run_sweep(config_from(config))
analyse(read_run(out))
