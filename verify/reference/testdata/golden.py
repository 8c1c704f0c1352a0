"""The metrics of a perturbed fixture by torch in float64, for golden_test.go, and a compact reference.

    python golden.py ../../../fixtures NAME...

prints a row of golden values for each fixture. The model is the reference itself times 3/4, rounded to bfloat16.
The first NAME's logits are also written to compact.safetensors, the top 16 of each position.
"""
import sys

import torch
from safetensors.torch import load_file, save_file

folder, names = sys.argv[1], sys.argv[2:]


def prompts(name):
    r = load_file(f"{folder}/{name}/reference.safetensors")
    n = 0
    while f"prompt.{n}.input_ids" in r:
        yield r[f"prompt.{n}.input_ids"], r[f"prompt.{n}.logits"]
        n += 1


for name in names:
    kl, nll, nll_ref, same, want, got = [], [], [], [], [], []
    for ids, w in prompts(name):
        m = (w * 0.75).to(torch.bfloat16).float()
        lp, lq = torch.log_softmax(w.double(), -1), torch.log_softmax(m.double(), -1)
        kl.append((lp.exp() * (lp - lq)).sum(-1))
        nll_ref.append(-lp[:-1].gather(1, ids[1:, None])[:, 0])
        nll.append(-lq[:-1].gather(1, ids[1:, None])[:, 0])
        same.append(w.gather(1, m.argmax(-1, keepdim=True))[:, 0] == w.max(-1).values)
        want.append(w.double())
        got.append(m.double())
    total, length = torch.stack([k.sum() for k in kl]), torch.tensor([len(k) for k in kl]).double()
    kl, want, got, c = torch.cat(kl), torch.cat(want), torch.cat(got), len(kl)
    mean = kl.mean()
    row = [mean, (c / (c - 1) * (total - mean * length).square().sum()).sqrt() / length.sum(), kl.quantile(0.5),
           kl.quantile(0.99), torch.cat(same).double().mean(), (want - got).abs().max(), want.std(correction=0),
           torch.cosine_similarity(want, got, dim=-1).min(), torch.cat(nll_ref).mean().exp(), torch.cat(nll).mean().exp()]
    print(f'{{"{name}", {len(kl)}, [10]float64{{{", ".join(repr(float(x)) for x in row)}}}}},')

out = {}
for n, (ids, w) in enumerate(prompts(names[0])):
    top = torch.topk(w, 16)
    out[f"prompt.{n}.input_ids"] = ids
    out[f"prompt.{n}.topk_ids"] = top.indices.to(torch.int32)
    out[f"prompt.{n}.topk_logits"] = top.values
    out[f"prompt.{n}.logsumexp"] = torch.logsumexp(w, -1)
save_file(out, "compact.safetensors")
