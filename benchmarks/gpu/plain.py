"""The lens in plain transformers on any device, as somebody who knows the library writes it.

The backbone without its head, no cache, fused attention; of each layer only the states at the answer positions are
normed and projected, all layers in one product. For models with Llama's names of modules.
"""

from collections.abc import Iterator, Sequence

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from benchmarks.gpu.rows import Rows
from lenscore.extraction.tokens import TokenisedContext


@torch.inference_mode()
def plain_rows(model: PreTrainedModel, contexts: Sequence[TokenisedContext], batch: int) -> Rows:
    """Return what the logit lens says, context by context.

    Args:
        model: on its device.
        contexts: of one question or several.
        batch: how many contexts run at once, padded to the longest; those of about the same length together.
    """
    order = sorted(range(len(contexts)), key=lambda index: len(contexts[index].ids))
    found: dict[int, Rows] = {}
    for start in range(0, len(order), batch):
        indices = order[start : start + batch]
        found.update(zip(indices, _of_batch(model, [contexts[index] for index in indices]), strict=True))
    return Rows.joined([found[index] for index in range(len(contexts))])


def _of_batch(model: PreTrainedModel, contexts: Sequence[TokenisedContext]) -> Iterator[Rows]:
    rows = [torch.tensor(context.predicting_ids, device=model.device) for context in contexts]
    # A single context needs no mask; a mask that hides nothing would cost a look at it.
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True) if len(rows) > 1 else None
    hidden = model.model(
        input_ids=pad_sequence(rows, batch_first=True), attention_mask=mask, output_hidden_states=True, use_cache=False
    ).hidden_states
    for row, context in enumerate(contexts):
        places = slice(context.predicting_positions.start, context.predicting_positions.stop)
        *states, last = (layer[row, places] for layer in hidden)
        # transformers has normed the last entry already.
        normed = torch.cat([model.model.norm(torch.stack(states)), last[None]])
        yield Rows.of_logits(model.lm_head(normed), context.answer_ids)
