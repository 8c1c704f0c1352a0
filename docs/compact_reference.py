"""Writes a compact reference for "thimble verify MODEL --reference OUT":

python compact_reference.py CHECKPOINT TEXT OUT [K=64] [TOKENS=512] [CHUNKS=16]
"""
import json
import sys

import torch
import transformers
from safetensors.torch import save_file

checkpoint, text, out = sys.argv[1:4]
k, length, chunks = (int(v) for v in sys.argv[4:] + ["64", "512", "16"][len(sys.argv) - 4:])
tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
with open(text, encoding="utf-8", newline="") as f:
    ids = tokenizer(f.read(), return_tensors="pt").input_ids[0]
assert len(ids) >= chunks * length, f"the text has {len(ids)} tokens, not {chunks * length}"
tensors, start, step, random = {}, tokenizer("").input_ids[:1], 1 / 1024, torch.Generator().manual_seed(0)
for n in range(chunks):
    part = ids[n * length : (n + 1) * length].clone()
    part[: len(start)] = torch.tensor(start, dtype=torch.long)  # as if every chunk began a text
    first, end = length // 2, length - 1  # the positions that are scored: the second half
    with torch.inference_mode():
        logits = model(part[None]).logits[0, first:end].float()
    top, lse = logits.topk(k), logits.double().logsumexp(-1)
    p = (logits.double() - lse[:, None]).exp()
    tail = torch.rand(p.shape, generator=random, dtype=p.dtype) * step < p  # each token with probability p/step
    tail.scatter_(1, top.indices, False)
    tensors |= {f"prompt.{n}.{kind}": tensor.contiguous() for kind, tensor in {
        "input_ids": part, "scored": torch.tensor([first, end]), "topk_ids": top.indices.int(), "topk_logits": top.values,
        "logsumexp": lse.float(), "next_logits": logits.gather(1, part[first + 1 : end + 1, None])[:, 0],
        "tail_counts": tail.sum(-1).int(), "tail_ids": tail.nonzero()[:, 1].int(), "tail_logits": logits[tail],
        "tail_step": torch.tensor([step])}.items()}
rope = getattr(model.config, "rope_parameters", None) or {}
settings = {"norm_eps": getattr(model.config, "rms_norm_eps", None),
            "rope_theta": getattr(model.config, "rope_theta", None) or rope.get("rope_theta")}
settings = json.dumps({name: v for name, v in settings.items() if isinstance(v, (int, float))})
save_file(tensors, out, metadata={"settings": settings, "framework": f"transformers {transformers.__version__}"})
