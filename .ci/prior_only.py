"""What is left of a Laplace posterior without its curvature? python .ci/prior_only.py STUDY SPLITS OUT.json asks all
layers and each alone of the finished runs of a study: the gain in NLL over the MAP under the run's posterior, and under
the same prior with no curvature at all, at the run's prior precision and at a tenth of it."""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from bayes_lora_layers.files import read_json, write_json
from bayes_lora_layers.inputs import batches
from bayes_lora_layers.predict import linearised_probs, normal_draws
from bayes_lora_layers.predictions import Room
from bayes_lora_layers.study import read_study
from bayes_lora_layers.sweep import fit_posterior, prepare


def without_curvature(posterior):
    flat = lambda kept: {k: torch.zeros_like(t) if k == "curvature" else t for k, t in kept.items()}
    return replace(posterior, kept={name: flat(kept) for name, kept in posterior.kept.items()})


def gains(setup, posteriors, split):
    "Mean gain in NLL `[precisions, sets]` of each posterior; sets are all layers, then each alone."
    c, classifier, data = setup.config, setup.classifier, setup.examples(split)
    own = next(iter(posteriors["laplace"].prior_precision.values()))
    sets, grid = [classifier.layers, *([l] for l in classifier.layers)], (own / 10, own)
    normals, room, totals = normal_draws(c.link_draws, len(classifier.classes), seed=c.seed), Room(classifier), {}
    for x, y in batches(data, 8, data.order):
        at = torch.arange(len(y))
        with torch.no_grad(): of_map = classifier.network(x).double().log_softmax(-1)[at, y].sum()
        for name, p in posteriors.items():
            probs = linearised_probs(classifier, p, x, sets, normals, grid, room.rows(x))["grid"]  # [g, m, n, c]
            gain = probs[:, :, at, y].double().clamp_min(1e-30).log().sum(-1) - of_map
            totals[name] = totals.get(name, 0) + gain
    return {name: (total / len(data)).tolist() for name, total in totals.items()} | {"precisions": grid, "n": len(data)}


study, splits, out = read_study(sys.argv[1]), sys.argv[2].split(","), Path(sys.argv[3])
found = read_json(out) if out.exists() else {}
for run, config in study.runs.items():
    setup = prepare(config, claim=False)
    posterior = fit_posterior(setup, setup.classifier)
    both = {"laplace": posterior, "prior alone": without_curvature(posterior)}
    for split in splits:
        if split in found.get(run, {}): continue
        found.setdefault(run, {})[split] = gains(setup, both, split)
        write_json(out, found)
        of_all = {name: [round(row[0], 4) for row in found[run][split][name]] for name in both}
        print(run, split, of_all, flush=True)
