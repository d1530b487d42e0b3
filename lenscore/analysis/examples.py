"""Example contexts, chosen by rule from every cell of the design, with all that was recorded about them."""

from pathlib import Path

import pandas as pd

from lenscore.databases import opened

_CELL = ["model", "context_set", "n_documents", "gold_index"]
_CONTEXT = [*_CELL, "context_id"]
KINDS = ("typical", "deepest", "lost", "flipped")

_TOKENS = """
    select d.*, flips.n_lost, flips.n_right_layers
    from token_depths d join token_flips flips using (model, lens, context_id, answer_index)
    where d.condition = 'documents' and d.distractor_order = 0
        and d.lens = (select min(lens) from layer_records)
"""

_GRID = """
    select
        e.model, e.context_set, e.n_documents, e.gold_index, c.relative_position, e.kind, e.context_id,
        q.question, c.answer, q.gold_title, r.lens, r.answer_index, target.token_text as target_text, r.layer,
        top1.token_text as top1_text, r.top1_id = r.target_id as is_right,
        exp(r.target_logprob::double) as target_probability, r.target_rank, r.entropy, r.kl_to_final,
        d.first_correct_layer, d.settled_layer
    from chosen e
    join contexts c using (context_id)
    join questions q using (question_id)
    join layer_records r using (model, context_id)
    join token_depths d using (model, lens, context_id, answer_index)
    join vocabulary target on target.model = e.model and target.token_id = r.target_id
    join vocabulary top1 on top1.model = e.model and top1.token_id = r.top1_id
    order by e.place, r.lens, r.answer_index, r.layer
"""


def choose_examples(tokens: pd.DataFrame, per_cell: int) -> pd.DataFrame:
    """Return example contexts: of each kind, the first ``per_cell`` in every cell that has any.

    A context's depth is the mean refinement depth of its answer tokens that layer L gets right.

    - *typical*: its depth is nearest to the median of the cell's contexts;
    - *deepest*: its depth is greatest (and above 0);
    - *lost*: one of its answer tokens is wrong at layer L and right at the most earlier layers;
    - *flipped*: one of its answer tokens is right at layer L and was lost the most times before.

    A context is chosen once, for the first kind that it fits. Ties go to the first context id.

    Args:
        tokens: rows of view ``token_depths`` under one lens, with ``n_lost`` and ``n_right_layers`` of ``token_flips``.
        per_cell: number of contexts of each kind in a cell; may be 0.

    Returns:
        One row a context: ``model``, ``context_set``, ``n_documents``, ``gold_index``, ``context_id`` and ``kind``.
    """
    right = tokens["final_right"]
    measured = tokens.assign(
        deepest=tokens["refinement_depth"].where(right),
        lost=tokens["n_right_layers"].mask(right),
        flipped=tokens["n_lost"].where(right),
    )
    contexts = measured.groupby(_CONTEXT, as_index=False).agg(
        deepest=("deepest", "mean"), lost=("lost", "max"), flipped=("flipped", "max")
    )
    median = contexts.groupby(_CELL)["deepest"].transform("median")
    contexts = contexts.assign(typical=-(contexts["deepest"] - median).abs())
    chosen = []
    for _, cell in contexts.groupby(_CELL):
        left = cell.sort_values("context_id")
        for kind in KINDS:
            fitting = left[left[kind].notna() if kind == "typical" else left[kind] > 0]
            # A stable sort keeps ties in the order of their ids.
            found = fitting.sort_values(kind, ascending=False, kind="stable").head(per_cell)
            chosen.append(found.assign(kind=kind))
            left = left.drop(found.index)
    columns = [*_CONTEXT, "kind"]
    return pd.concat(chosen, ignore_index=True)[columns] if chosen else pd.DataFrame(columns=columns)


def study_examples(database: Path, per_cell: int) -> pd.DataFrame:
    """Return the chosen contexts' records, one row a context × lens × answer token × layer.

    They are chosen by :func:`choose_examples` under one lens (the logit lens if the study has it), among contexts with
    documents in the first order of distractors. Each row has question, answer, title of the gold document, text of
    the answer token and of the lens's top choice, probability and rank of the answer token, entropy and KL (nats),
    first-correct and settled layer.
    """
    with opened(database) as connection:
        chosen = choose_examples(connection.execute(_TOKENS).df(), per_cell)
        chosen = chosen.assign(place=range(len(chosen)))
        connection.register("chosen", chosen.astype({"n_documents": "int32", "gold_index": "int32"}))
        return connection.execute(_GRID).df()
