"""The study's digits with disjoint test sets: python .ci/folds.py FOLDER [FOLDS] pretrains the tiny ViT once and cuts
the digits it has not seen into that many test sets, each with training images from the others."""

import sys
from pathlib import Path

import numpy as np

from bayes_lora_layers.data import digits_pool, stratified_cut
from bayes_lora_layers.train import pretrain_tiny_vit

folder, folds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5
print("base:", pretrain_tiny_vit(folder / "base"))
pool = digits_pool()
pool = pool.select(stratified_cut(np.array(pool["label"]), 600)[1])  # the first part is the base's
rest, n = np.arange(len(pool)), len(pool) // folds
for i in range(folds):
    size = n if i < folds - 1 else len(rest)
    test = rest if size == len(rest) else rest[stratified_cut(np.array(pool["label"])[rest], size, i)[0]]
    rest = np.setdiff1d(rest, test)
    out = folder / str(i)
    out.mkdir(parents=True, exist_ok=True)
    pool.select(test).to_parquet(out / "test.parquet")
    pool.select(np.setdiff1d(np.arange(len(pool)), test)).to_parquet(out / "train.parquet")
    print(out, f"{len(test)} test images")
