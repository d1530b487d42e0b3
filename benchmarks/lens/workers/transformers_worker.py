"""The lens in plain transformers, as somebody who knows the library writes it.

The backbone without its head, no cache, fused attention; of each layer only the states at the answer positions
are normed and projected, all layers in one product.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, PreTrainedModel

from benchmarks.lens.exchange import Answers, Context, Questions, Results
from benchmarks.lens.protocol import Lens, serve


def load(model: str, threads: int, batch: int) -> Lens:
    """Load a Llama-like model; ``batch`` contexts of a question run at once, padded to the longest."""
    torch.set_num_threads(threads)
    loaded = AutoModelForCausalLM.from_pretrained(Path(model), dtype=torch.float32, local_files_only=True).eval()

    @torch.inference_mode()
    def lens(questions: Questions) -> Results:
        return [_of_question(loaded, contexts, batch) for contexts in questions]

    return lens


def _of_question(model: PreTrainedModel, contexts: Sequence[Context], batch: int) -> list[Answers]:
    # Contexts of about the same length make batches with little padding.
    order = sorted(range(len(contexts)), key=lambda index: len(contexts[index].ids))
    found: dict[int, Answers] = {}
    for start in range(0, len(order), batch):
        indices = order[start : start + batch]
        found.update(zip(indices, _of_batch(model, [contexts[index] for index in indices]), strict=True))
    return [found[index] for index in range(len(contexts))]


def _of_batch(model: PreTrainedModel, contexts: Sequence[Context]) -> Iterator[Answers]:
    rows = [torch.tensor(context.input_ids) for context in contexts]
    hidden = model.model(
        input_ids=pad_sequence(rows, batch_first=True),
        attention_mask=pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
        output_hidden_states=True,
        use_cache=False,
    ).hidden_states
    for row, context in enumerate(contexts):
        places = slice(context.predicting.start, context.predicting.stop)
        *states, last = (layer[row, places] for layer in hidden)
        # transformers has normed the last entry already.
        normed = torch.cat([model.model.norm(torch.stack(states)), last[None]])
        yield _answers(model.lm_head(normed), torch.tensor(context.targets))


def _answers(logits: Tensor, targets: Tensor) -> Answers:
    logprobs = torch.log_softmax(logits, dim=-1)
    top = logprobs.topk(2)  # as fast as argmax
    of_targets = logprobs.gather(-1, targets.expand(len(logprobs), -1)[..., None])[..., 0]
    return Answers.of(top.indices, top.values, of_targets)


if __name__ == "__main__":
    serve(load)
