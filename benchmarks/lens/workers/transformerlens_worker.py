"""The lens in TransformerLens, in the environment of ``benchmarks.lens.environment``, which has no lenscore.

What its documentation offers is used: raw weights (``boot_transformers`` processes none), the cache confined to the
residual stream and to the answer positions, its own final norm and unembedding.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge  # type: ignore[import-not-found]  # not in this project's

from benchmarks.lens.exchange import Answers, Context, Questions, Results
from benchmarks.lens.protocol import Lens, serve

# Of transformers' arguments, which it passes on.
_LEAN = {"logits_to_keep": 1, "output_attentions": False}


def load(model: str, threads: int, lean: bool) -> Lens:
    """Load a model in float32; ``lean`` spares it logits of the whole prompt and attention maps, which nobody reads."""
    torch.set_num_threads(threads)
    passed_on = _LEAN if lean else {}
    bridge = TransformerBridge.boot_transformers(model, dtype=torch.float32, device="cpu")

    @torch.inference_mode()
    def lens(questions: Questions) -> Results:
        return [[_of_context(bridge, context, passed_on) for context in contexts] for contexts in questions]

    return lens


def _of_context(bridge: TransformerBridge, context: Context, passed_on: Mapping[str, Any]) -> Answers:
    n_layers = bridge.cfg.n_layers
    names = [*(f"blocks.{layer}.hook_resid_pre" for layer in range(n_layers)), f"blocks.{n_layers - 1}.hook_resid_post"]
    _, cache = bridge.run_with_cache(
        torch.tensor([context.input_ids]),
        names_filter=names,
        pos_slice=(context.predicting.start, context.predicting.stop),
        **passed_on,
    )
    states = torch.stack([cache[name][0] for name in names])
    logprobs = torch.log_softmax(bridge.unembed(bridge.ln_final(states)), dim=-1)
    top = logprobs.topk(2)
    targets = torch.tensor(context.targets).expand(len(names), -1)
    return Answers.of(top.indices, top.values, logprobs.gather(-1, targets[..., None])[..., 0])


if __name__ == "__main__":
    serve(load)
