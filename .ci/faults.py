"""What a run does when something is done to it: python .ci/faults.py OUT.json [kills] [files] [data] [values].

Kills it at random moments, damages its files, hands it odd data and wrong values, and writes what happened, case by
case. A case is fine when the same command ends in the same bytes, or says in one `ValueError` what is wrong and what
would be right."""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TQDM_DISABLE"] = "1"
warnings.filterwarnings("ignore")

import datasets
import numpy as np
import torch
import transformers
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as PILImage

from bayes_lora_layers.config import Config, config_from
from bayes_lora_layers.data import digits_parts, inspect_splits, load_splits
from bayes_lora_layers.sweep import run_sweep

transformers.logging.set_verbosity_error()
datasets.disable_progress_bars()
transformers.utils.logging.disable_progress_bar()
SMALL = Config(
    rank=2,
    epochs=3,
    train_size=60,
    samples=4,
    link_draws=8,
    test_size=64,
    validation_size=40,
    bootstrap=100,
    layers=[0, 11],
    prior_grid=[100.0],
    laplace_prior_precision=100.0,
)
KEPT = (
    "layer_wise_results.json",
    "summary_table.csv",
    "predictions.safetensors",
    "subsets.safetensors",
    "posterior.safetensors",
    "config.yaml",
)
rng = random.Random(0)


def quietly(f):
    "What a call returns or the exception it ends in, and the lines it said."
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            found = f()
        except Exception as e:
            found = e
    return found, [l for l in said.getvalue().splitlines() if "made again" in l or "again" in l or "also in" in l]


def contents(folder):
    return {name: (folder / name).read_bytes() for name in KEPT}


def killed(config, seconds):
    "Run in a child that is killed after so many seconds; False when it ended before."
    child = os.fork()
    if child == 0:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        try:
            run_sweep(config)
        finally:
            os._exit(0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def kills(config, wanted, whole, scratch):
    "At least fifty kills, over as many runs as it takes; each run must end in the bytes of one that was left alone."
    cases = []
    while len(cases) < 50:
        folder, here = Path(tempfile.mkdtemp(dir=scratch)) / "run", []
        shutil.copytree(Path(config.output_dir) / "pretrained", folder / "pretrained")
        again = replace(config, output_dir=str(folder))
        for _ in range(12):
            after = rng.uniform(0.05, whole)
            if not killed(again, after):
                break
            stage = next(
                (
                    s
                    for s, p in (
                        ("after the predictions", "predictions.safetensors"),
                        ("in the predictions", "partial"),
                        ("after the posterior", "posterior.safetensors"),
                        ("after training", "adapter/seal.json"),
                        ("in training", "checkpoints"),
                    )
                    if (folder / p).exists()
                ),
                "before training",
            )
            here.append({"kind": "kill", "what": f"{after:.2f} s in, {stage}"})
        found, _ = quietly(lambda: run_sweep(again))
        same = not isinstance(found, Exception) and contents(folder) == wanted
        cases += [
            {
                **c,
                "fine": same,
                "outcome": (
                    "the run it belongs to ended in the same bytes" if same else f"other bytes, or {found!r:.100}"
                ),
            }
            for c in here
        ]
        shutil.rmtree(folder.parent)
    return cases


def damages(path):
    "Kinds of damage to a file."
    whole = path.read_bytes()

    def flip():
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)

    return {
        "one bit flipped": flip,
        "cut in half": lambda: path.write_bytes(whole[: len(whole) // 2]),
        "empty": lambda: path.write_bytes(b""),
        "text of another kind": lambda: path.write_bytes(b"[]\n"),
        "deleted": path.unlink,
    }


def files(config, wanted, whole, scratch):
    "Every file of a finished run, damaged in every way; the same command must bring the same bytes back."
    folder, cases = Path(config.output_dir), []
    names = [
        *KEPT,
        "environment.json",
        "data.json",
        "adapter/adapter_model.safetensors",
        "adapter/adapter_config.json",
        "adapter/base.json",
        "adapter/seal.json",
        "pretrained/model/model.safetensors",
    ]
    for name in names:
        for what, damage in damages(folder / name).items():
            if name == "pretrained/model/model.safetensors" and what != "one bit flipped":
                continue  # trained again, which takes long
            damage()
            if name.startswith("pretrained"):
                (folder / KEPT[0]).unlink()  # a finished run does not look at its base
            found, said = quietly(lambda: run_sweep(config))
            same = not isinstance(found, Exception) and contents(folder) == wanted
            named = isinstance(found, ValueError) and name in str(found)
            cases.append(
                {
                    "kind": "file",
                    "what": f"{name}: {what}",
                    "fine": same or named,
                    "outcome": (
                        ("the same bytes" + (f"; said: {said[0].replace(str(folder) + '/', '')[:110]}" if said else ""))
                        if same
                        else f"{'refused' if named else 'FAILED'}: {str(found)[:140]}"
                    ),
                }
            )
            if not same:
                shutil.rmtree(folder / "adapter", ignore_errors=True)
                [(folder / k).unlink(missing_ok=True) for k in KEPT]
                quietly(lambda: run_sweep(config))
    return cases


def data(config, wanted, whole, scratch):
    "Odd data sets on disk."
    pool = digits_parts(0)["train"].select(range(80))
    picture = lambda mode, size=(8, 8), value=None: (
        PILImage.fromarray((np.random.default_rng(0).random((*size, 3)) * 255).astype(np.uint8)).convert(mode)
        if value is None
        else PILImage.new(mode, size, value)
    )
    features = Features({"image": Image(), "label": ClassLabel(names=[str(i) for i in range(10)])})

    def table(images, labels, f=features):
        return Dataset.from_dict({"image": images, "label": labels}, features=f)

    def modes(mode):
        return {
            "train": table(
                [d["image"] for d in pool][:60] + [picture(mode)] * 2, [d["label"] for d in pool][:60] + [0, 1]
            ),
            "test": pool.select(range(60, 80)),
        }

    def depth(value):
        return {
            "train": pool.select(range(60)),
            "test": table(
                [
                    PILImage.fromarray(
                        (np.random.default_rng(i).random((8, 8)) * value).astype(
                            np.float32 if value == 1.0 else np.uint16 if value <= 65535 else np.int32
                        )
                    )
                    for i in range(12)
                ],
                [i % 10 for i in range(12)],
            ),
        }

    def raw(content, row=3):
        rows = [dict(r) for r in pool.cast_column("image", Image(decode=False))["image"]]
        rows[row] = None if content is None else {"bytes": content(rows[row]["bytes"]), "path": None}
        return {
            "train": pool.remove_columns("image").add_column("image", rows).cast_column("image", Image()),
            "test": pool.select(range(60, 80)),
        }

    def names(change):
        return {"train": pool.select(range(60)), "test": change(pool.select(range(60, 80)))}

    def recast(d, f):
        return d.remove_columns("label").add_column("label", [f(l) for l in d["label"]])

    def labels(d, classes, f):
        return recast(d, f).cast_column("label", ClassLabel(names=classes))

    ten = [str(i) for i in range(10)]
    parts = {"train": pool.select(range(60)), "test": pool.select(range(60, 80))}
    sets = {
        f"images of mode {m}": (lambda m=m: modes(m))
        for m in ("1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "RGB")
    }
    sets |= {
        "16-bit images": lambda: depth(65535),
        "images of 32-bit integers": lambda: depth(2**20),
        "images of floats": lambda: depth(1.0),
    }
    sets |= {
        f"an image of {s[0]} by {s[1]} pixels": (
            lambda s=s: {
                "train": table(
                    [d["image"] for d in pool][:60] + [picture("RGB", s)], [d["label"] for d in pool][:60] + [0]
                ),
                "test": parts["test"],
            }
        )
        for s in ((1, 1), (1, 500), (500, 1), (3, 7), (1000, 1000))
    }
    sets |= {
        "half a file": lambda: raw(lambda b: b[: len(b) // 2]),
        "a file without its end": lambda: raw(lambda b: b[:-20]),
        "no image at all": lambda: raw(lambda b: b"text"),
        "an empty file": lambda: raw(lambda b: b""),
        "an HTML page": lambda: raw(lambda b: b"<html>404</html>"),
        "a missing image": lambda: raw(None),
        "a flipped bit in a PNG": lambda: raw(lambda b: b[:50] + bytes([b[50] ^ 1]) + b[51:]),
        "the last image broken": lambda: raw(lambda b: b"", 79),
        "a script in SVG": lambda: raw(lambda b: b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>"),
    }
    sets |= {
        f"all {w} pixels {v}": (
            lambda w=w, v=v: {**parts, w: table([picture("RGB", value=(v, v, v))] * 60, [i % 10 for i in range(60)])}
        )
        for w in ("train", "test")
        for v in (0, 255)
    }
    sets |= {
        "classes in another order": lambda: names(lambda d: labels(d, ten[::-1], lambda l: 9 - l)),
        "fewer classes in the test split": lambda: names(
            lambda d: labels(d.filter(lambda r: r["label"] in (3, 7)), ["7", "3"], lambda l: int(l == 3))
        ),
        "another class in the test split": lambda: names(lambda d: labels(d, [*ten, "ten"], lambda l: l)),
        "other names for the same numbers": lambda: names(
            lambda d: labels(d, [f"digit {i}" for i in range(10)], lambda l: l)
        ),
        "labels of -1": lambda: names(lambda d: labels(d, ten, lambda l: -1)),
        "some labels of -1": lambda: names(lambda d: labels(d, ten, lambda l: -1 if l == 3 else l)),
        "labels that are numbers": lambda: {
            k: recast(v, lambda l: l).cast_column("label", Value("int64")) for k, v in parts.items()
        },
        "labels that are text": lambda: {k: recast(v, str) for k, v in parts.items()},
        "labels that are missing": lambda: names(lambda d: d.remove_columns("label")),
        "no image column": lambda: {k: v.remove_columns("image") for k, v in parts.items()},
        "columns of another name": lambda: {
            k: v.rename_columns({"image": "x", "label": "y"}) for k, v in parts.items()
        },
        "another column name in one split": lambda: names(lambda d: d.rename_column("label", "y")),
        "more columns": lambda: {k: v.add_column("id", list(range(len(v)))) for k, v in parts.items()},
        "two label columns": lambda: {
            k: v.add_column("coarse", [l % 2 for l in v["label"]]).cast_column(
                "coarse", ClassLabel(names=["even", "odd"])
            )
            for k, v in parts.items()
        },
        "labels without class names": lambda: {
            k: recast(v, lambda l: l).cast_column("label", Value("int64")) for k, v in parts.items()
        },
        "one class only": lambda: {k: labels(v, ["a"], lambda l: 0) for k, v in parts.items()},
        "hostile class names": lambda: {
            k: labels(v, [f"<script>{i}</script>" for i in range(10)], lambda l: l) for k, v in parts.items()
        },
        "a class name of 5,000 letters": lambda: {
            k: labels(v, ["x" * 5000, *ten[1:]], lambda l: l) for k, v in parts.items()
        },
        "empty class names": lambda: {k: labels(v, ["", *ten[1:]], lambda l: l) for k, v in parts.items()},
    }
    sets |= {
        "no test split": lambda: {"train": pool},
        "no training split": lambda: {"test": pool},
        "an empty test split": lambda: names(lambda d: d.select([])),
        "one test image": lambda: names(lambda d: d.select([0])),
        "only a validation split beside": lambda: {"train": parts["train"], "validation": parts["test"]},
        "a split called val": lambda: {"train": parts["train"], "val": parts["test"]},
        "test images in training": lambda: names(lambda d: pool.select(range(50, 70))),
        "validation is the test split": lambda: {**parts, "validation": parts["test"]},
        "the same image many times": lambda: {
            "train": table([pool[0]["image"]] * 30 + [pool[1]["image"]] * 30, [0] * 30 + [1] * 30),
            "test": parts["test"],
        },
        "three training images": lambda: {"train": pool.select(range(3)), "test": parts["test"]},
        "a class with one image": lambda: {
            "train": pool.filter(lambda r: r["label"] != 9).select(range(50)),
            "test": parts["test"],
        },
    }
    cases = []
    for what, make in sets.items():
        folder = Path(tempfile.mkdtemp(dir=scratch)) / "data"
        made, _ = quietly(lambda: DatasetDict(make()).save_to_disk(folder))
        if isinstance(made, Exception):
            continue  # datasets itself cannot save it, so nobody can hand it over

        def read():
            splits = load_splits(str(folder))
            return splits, inspect_splits(splits, folder / "data.json")

        found, said = quietly(read)
        refused = isinstance(found, ValueError) and (
            "dataset" in str(found) or "_size" in str(found) or "label" in str(found)
        )
        if isinstance(found, tuple):
            told = {k: v["examples"] for k, v in found[1]["duplicates"].items() if v["examples"]}
        cases.append(
            {
                "kind": "data",
                "what": what,
                "fine": refused or isinstance(found, tuple),
                "outcome": (
                    f"taken: {found[0]}" + (f"; in two splits: {told}" if told else "")
                    if isinstance(found, tuple)
                    else f"{'refused' if refused else 'FAILED'}: {str(found).replace(str(folder), 'DATA')[:150]}"
                ),
            }
        )
    for what, name in {
        "a folder that is not there": "/no/such/folder",
        "an empty folder": scratch + "/empty",
        "a file": __file__,
        "no name": " ",
        "a name with a line break": "a\nb",
    }.items():
        os.makedirs(scratch + "/empty", exist_ok=True)
        found, _ = quietly(lambda: load_splits(replace(config, dataset=name).dataset))
        cases.append(
            {
                "kind": "data",
                "what": what,
                "fine": isinstance(found, ValueError),
                "outcome": f"refused: {str(found)[:150]}",
            }
        )
    return cases


def values(config, wanted, whole, scratch):
    "Values that no run can use."
    huge, inf, nan = 10**30, float("inf"), float("nan")
    wrong = [
        (k, v)
        for k in (
            "rank",
            "epochs",
            "batch_size",
            "samples",
            "bins",
            "curvature_samples",
            "bootstrap",
            "link_draws",
            "ensemble_size",
        )
        for v in (0, -1, huge, 2.5, "many", None, True)
    ]
    wrong += [(k, v) for k in ("alpha", "learning_rate", "smallest_gain") for v in (0, -1, inf, nan, "x", None)] + [
        (k, v) for k in ("prior_precision", "test_noise", "memory_budget") for v in (-1, inf, nan, "x")
    ]
    wrong += [
        (k, v)
        for k in ("train_size", "test_size", "validation_size", "max_classes", "image_size", "seed")
        for v in (-1, huge, 1.5)
    ]
    wrong += [("laplace_prior_precision", v) for v in (0, -1, inf, nan, "guess", [], 1e-300, 1e300)] + [
        ("prior_grid", v) for v in ([inf], [nan], [-1], ["a"], [[1]], [1, 1], 1.0, [True])
    ]
    wrong += [("predictives", v) for v in ([], [[0]], ["x"], ["sampled", "sampled"], "sampled", None)] + [
        ("layers", v) for v in ([-1], [0.5], ["a"], [[0]], [huge], "0")
    ]
    wrong += [
        ("groups", {n: [0]})
        for n in (
            "priors",
            "variance",
            "blocks",
            "parts",
            "controls",
            "full",
            "map",
            "recommended",
            "layer.3",
            "",
            "a" * 99,
            "<!--<script>",
            "a`b",
            "$x$",
            "a\nb",
            "recommended.layers",
        )
    ] + [("groups", v) for v in ({"a": []}, {"a": [[0]]}, {"a": 0}, {"a": ["b"]}, {1: [0]}, [], "a")]
    wrong += [("shifts", v) for v in ({"test": "fog:3"}, {"a.b": "fog:3"}, {"a": ""}, {"a": 3}, {1: "fog:3"}, [], "x")]
    wrong += [("shifts", {"a": v}) for v in ("fog:9", "fog:", "typos:0.1", "/no/such/data", "outliers:", "outliers:/")]
    wrong += (
        [
            (k, v)
            for k in ("structure", "metric", "answer", "curvature", "kfac", "checkpoint", "precision", "engine")
            for v in ("", "other", 1, None)
        ]
        + [("lora_dropout", v) for v in (1, -0.1, nan)]
        + [("risk", v) for v in (0, 1, -0.1, 5, nan, "few")]
        + [("target_modules", v) for v in ([], [1], "q", [""])]
    )
    wrong += [("structure", v) for v in ("os.path", "a b:c", "x:", ":y", "x:y:z", "x:y()", "../x:y")] + [
        ("metric", v) for v in ("accuracy", "ECE", ["ece"])
    ]
    wrong += (
        [("output_dir", v) for v in ("", " ", __file__, __file__ + "/run", "x" * 300, "a\0b", 3)]
        + [("dataset", v) for v in ("", "a\nb", 3)]
        + [
            ("model", ""),
            ("device", "gpu"),
            ("device", ""),
            ("x = 1\ny", 1),
            ("import os", 1),
            ("rnak", 8),
            ("Rank", 8),
            ("", 1),
        ]
    )
    cases = []
    from bayes_lora_layers.config import check_folder, find_device

    for name, value in wrong:

        def start():
            c = config_from({"output_dir": str(Path(scratch) / "fresh"), name: value})
            check_folder(c)
            find_device(c.device)
            if c.shifts:
                load_splits(c.dataset, shifts=c.shifts)

        found, _ = quietly(start)
        fine = isinstance(found, ValueError) and (name in str(found) or "unknown parameter" in str(found))
        cases.append(
            {
                "kind": "value",
                "what": f"{name}: {value!r}"[:60],
                "fine": fine,
                "outcome": str(found)[:150] if isinstance(found, Exception) else "FAILED: accepted",
            }
        )
    return cases


if __name__ == "__main__":
    out, asked = Path(sys.argv[1]), sys.argv[2:] or ["values", "data", "files", "kills"]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        config = replace(SMALL, output_dir=f"{scratch}/run")
        wanted = whole = None
        if {"files", "kills"} & set(asked):
            quietly(lambda: run_sweep(replace(config, output_dir=f"{scratch}/first")))  # warms up, and makes the base
            shutil.copytree(f"{scratch}/first/pretrained", f"{scratch}/run/pretrained")
            start = time.monotonic()
            made, _ = quietly(lambda: run_sweep(config))
            whole = time.monotonic() - start
            if isinstance(made, Exception):
                raise made
            wanted = contents(Path(config.output_dir))
        found = json.loads(out.read_text()) if out.exists() else []
        for name in asked:
            cases = {"kills": kills, "files": files, "data": data, "values": values}[name](
                config, wanted, whole, scratch
            )
            found = [c for c in found if c["kind"] != cases[0]["kind"]] + cases
            print(f"{name}: {len(cases)} cases, {sum(c['fine'] for c in cases)} fine", flush=True)
            for c in cases:
                if not c["fine"]:
                    print("  ", c["what"], "->", c["outcome"])
            out.write_text(json.dumps(found, indent=0, ensure_ascii=True) + "\n")
    sys.exit(not all(c["fine"] for c in found))
