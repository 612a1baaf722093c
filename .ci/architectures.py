"""Does the engine fit the architectures that transformers has? python .ci/architectures.py [NAME...]

Small networks from configurations, LoRA on every role that they have, in float64. For each: reverse against forward
mode, samples replayed from a block against samples pushed through the whole network with its weights moved, and our
covariances against Jacobians by autograd. What cannot be adapted must be refused in one `ValueError`. Ends with an
error when anything else happened."""

import sys
import warnings

warnings.filterwarnings("ignore")
import torch
import transformers as t
from torch.utils.data import DataLoader

from bayes_lora_layers.inputs import Inputs, collated
from bayes_lora_layers.laplace import fit_laplace, freeze, sample_deviations
from bayes_lora_layers.model import _random_text_task, _text_families, add_lora, example_input, tiny_vit
from bayes_lora_layers.predict import layer_covariances, logit_deviations, sampled_probs

t.logging.set_verbosity_error()
VIT = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    image_size=32,
    patch_size=8,
    num_labels=3,
)
STAGED = dict(image_size=32, patch_size=2, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4, num_labels=3)
VISION = {k: v for k, v in VIT.items() if k != "num_labels"}
PVT = dict(
    image_size=32,
    num_encoder_blocks=2,
    depths=[1, 1],
    sequence_reduction_ratios=[2, 1],
    hidden_sizes=[16, 32],
    patch_sizes=[4, 2],
    strides=[4, 2],
    num_attention_heads=[1, 2],
    mlp_ratios=[2, 2],
    num_labels=3,
)
FAMILIES = {  # prefix of the classes -> configuration
    "ViT": VIT,
    "DeiT": VIT,
    "ViTMSN": VIT,
    "Beit": VIT,
    "Data2VecVision": VIT,
    "Dinov2": {**VIT, "mlp_ratio": 2},
    "Dinov2WithRegisters": {**VIT, "num_register_tokens": 2, "mlp_ratio": 2},
    "IJepa": VIT,
    "Swin": STAGED,
    "Swinv2": STAGED,
    "DonutSwin": STAGED,
    "Pvt": PVT,
    "Segformer": {k: v for k, v in PVT.items() if k not in ("image_size",)} | {"sr_ratios": [2, 1]},
    "MobileViT": dict(
        image_size=64,
        hidden_sizes=[16, 16, 16],
        neck_hidden_sizes=[8, 8, 8, 8, 8, 8, 16],
        num_attention_heads=2,
        num_labels=3,
    ),
    "ImageGPT": dict(n_embd=32, n_layer=2, n_head=2, num_labels=3),
    "Hiera": dict(image_size=[64, 64], embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], num_labels=3),
    "Levit": dict(
        image_size=64, hidden_sizes=[16] * 3, num_attention_heads=[2] * 3, depths=[1] * 3, key_dim=[8] * 3, num_labels=3
    ),
    "CLIP": {"vision_config": VISION, "num_labels": 3},
    "Siglip": {"vision_config": VISION, "num_labels": 3},
    "Siglip2": {"vision_config": {**VISION, "num_patches": 16}, "num_labels": 3},
    "MetaClip2": {"vision_config": VISION, "num_labels": 3},
    "ResNet": dict(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3),
    "ConvNext": dict(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, num_labels=3),
    "PoolFormer": dict(hidden_sizes=[8] * 4, depths=[1] * 4, num_labels=3),
}


def build(name: str, settings: dict):
    kind, config = getattr(t, f"{name}ForImageClassification", None), getattr(t, f"{name}Config", None)
    if kind is None or config is None:
        return None  # this version of transformers has none
    return kind(config(**settings)).double().eval()


def adapted(network, processor):
    "With LoRA on as many roles as the architecture has."
    refused = None
    for roles in (
        ["q", "k", "v", "o", "mlp"],
        ["qkv", "o", "mlp"],
        ["q", "v", "mlp"],
        ["q", "k", "v", "o"],
        ["q", "v"],
        ["mlp"],
    ):
        try:
            return add_lora(network, processor, ("a", "b", "c"), rank=2, target_modules=roles), roles
        except ValueError as e:
            refused = refused or str(e)
    return refused, []


def errors(classifier, x, y) -> dict[str, float]:
    rows = [{**{k: t[i] for k, t in x.tensors.items()}, "labels": y[i]} for i in range(len(x))]
    la = fit_laplace(classifier, DataLoader(rows, batch_size=len(x), collate_fn=collated), "diag", tolerance=0)
    posterior = freeze(la, classifier, 50.0)
    drawn = sample_deviations(posterior, 3, 0)
    reverse = logit_deviations(classifier, x, drawn, classifier.layers, "reverse")
    try:
        forward = logit_deviations(classifier, x, drawn, classifier.layers, "forward")
    except ValueError as e:  # which says so
        print(e)
        forward = None
    logits = []
    with torch.no_grad():
        at_map = classifier.network(x)
        for k in range(3):
            for n, d in drawn.items():
                classifier.network.get_parameter(n).add_(d[k])
            logits.append(classifier.network(x))
            for n, d in drawn.items():
                classifier.network.get_parameter(n).sub_(d[k])
    whole = torch.stack(logits).softmax(-1).mean(0)
    replayed = sampled_probs(classifier, posterior, x, [classifier.layers], 3, 0, 0, at_map)["probs"][0]
    found = layer_covariances(classifier, posterior, x).of(range(len(classifier.layers)))
    names, weights = zip(*[(n, classifier.network.get_parameter(n)) for s in classifier.sites for n in s.parameters])
    variance = torch.cat([v.flatten() for s in classifier.sites for v in posterior.variance(s)])
    J = torch.stack(
        [
            torch.stack(
                [
                    torch.cat(
                        [g.flatten() for g in torch.autograd.grad(classifier.network(x[i : i + 1])[0, c], weights)]
                    )
                    for c in range(3)
                ]
            )
            for i in range(len(x))
        ]
    )
    dense = torch.einsum("ncp,p,nkp->nck", J, variance, J)
    of = lambda a, b: float((a - b).abs().max() / b.abs().max())
    compared = {} if forward is None else {"forward": of(forward, reverse)}
    return {**compared, "replayed": of(replayed, whole), "covariance": of(found, dense)}


def padded_left(x: Inputs) -> Inputs:
    "The same texts with their padding in front."
    shift = (x.mask == 0).sum(1)
    back = lambda k, v: v if k == "open_choices" else torch.stack([r.roll(int(s)) for r, s in zip(v, shift)])
    return Inputs({k: back(k, v) for k, v in x.tensors.items()})


def padding_errors(classifier, x, y) -> dict[str, float]:
    "What padding changes: of curvature, covariances and samples, one batch against one example at a time."
    rows = [{**{k: v[i] for k, v in x.tensors.items()}, "labels": y[i]} for i in range(len(x))]
    of = lambda a, b: float((a - b).abs().max() / b.abs().max())
    fit = lambda kind, size: freeze(
        fit_laplace(classifier, DataLoader(rows, batch_size=size, collate_fn=collated), kind, tolerance=0),
        classifier,
        50.0,
    )
    curvature = lambda p: torch.cat([p.kept[w]["curvature"].flatten() for s in p.sites for w in s.parameters])
    found = {k: of(curvature(fit(k, len(x))), curvature(fit(k, 1))) for k in ("diag", "kron")}
    posterior, alone = fit("diag", len(x)), [x[i : i + 1].trimmed() for i in range(len(x))]
    together = layer_covariances(classifier, posterior, x).ends[0]
    found["covariances"] = of(
        together, torch.cat([layer_covariances(classifier, posterior, one).ends[0] for one in alone], 1)
    )
    draw = lambda one: sampled_probs(classifier, posterior, one, [classifier.layers], 3, 0)["probs"][0]
    return found | {"samples": of(draw(x), torch.cat([draw(one) for one in alone]))}


def told(what: str, found: dict[str, float], limit: float) -> bool:
    "Print errors; whether one is above the limit, or is no number."
    wrong = not all(v <= limit for v in found.values())
    print(what, ", ".join(f"{k} {v:.0e}" for k, v in found.items()) + ("  WRONG" if wrong else ""), flush=True)
    return wrong


failed = 0
for name in _text_families():
    if len(sys.argv) > 1 and name not in sys.argv[1:]:
        continue
    try:
        # parts of these are in float32 whatever the precision: positions, softmax
        coarse = 1e-5 if name in ("ModernBERT", "Gemma-2", "Bloom") else 1e-9
        classifier, loader = _random_text_task(name)
        x, y = next(iter(loader))
        found = {**errors(classifier, x, y), **padding_errors(classifier, x, y)}
        left = padded_left(x)
        if torch.isfinite(classifier.network(left)).all():
            found |= {f"{k}, left": v for k, v in errors(classifier, left, y).items()}
        else:
            print(f"{name} itself gives no numbers with padding in front")
        failed += told(f"{name:13} {len(classifier.sites):2} sites, reads {classifier.reads or 'all':5}", found, coarse)
    except Exception as e:
        failed += 1
        print(f"{name:13} FAILED {type(e).__name__}: {str(e)[:300]}", flush=True)
_, processor = tiny_vit()
for name, settings in FAMILIES.items():
    if len(sys.argv) > 1 and name not in sys.argv[1:]:
        continue
    torch.manual_seed(0)
    network = build(name, settings)
    if network is None:
        continue
    size = 64 if name in ("MobileViT", "Hiera", "Levit", "Cvt", "PoolFormer", "ResNet", "ConvNext", "Bit") else 32
    processor.size = {"height": size, "width": size}
    try:
        own = (
            t.Siglip2ImageProcessor(patch_size=8, max_num_patches=16) if name == "Siglip2" else processor
        )  # which hands over patches, their mask and the shape
        classifier, roles = adapted(network, own)
        if not roles:
            print(f"{name:22} refused: {classifier[:160]}")
            continue
        x, y = example_input(classifier.network, classifier.processor).drawn(4), torch.tensor([0, 1, 2, 0])
        with torch.no_grad():
            for s in classifier.sites:
                classifier.weights(s)[1].normal_(0, 0.1)
        what = f"{len(classifier.layers):2} layers, {len(classifier.sites):2} sites on {','.join(roles):14}"
        failed += told(f"{name:22} {what}", errors(classifier, x, y), 1e-9)
    except Exception as e:
        failed += 1
        print(f"{name:22} FAILED {type(e).__name__}: {str(e)[:200]}", flush=True)
sys.exit(bool(failed))
