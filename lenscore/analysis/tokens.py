"""The answer tokens of a study: one row each and lens, with every measure and what tokens are grouped by."""

import duckdb
import pandas as pd

from lenscore.study.analysis import FirstToken

_TOKENS = """
    select
        d.*, case when $first_token = 'any' then 0 else d.first_content_index end as first_index,
        settled.jsd_settled_layer, c.answer,
        frequency.rank as frequency_rank, flips.n_lost, final.target_logprob, m.n_layers
    from token_depths d
    join contexts c using (context_id)
    join jsd_settled_layers($threshold) settled using (model, lens, context_id, answer_index)
    join token_flips flips using (model, lens, context_id, answer_index)
    join models m using (model)
    join layer_records final
        on final.model = d.model and final.lens = d.lens and final.context_id = d.context_id
        and final.answer_index = d.answer_index and final.layer = m.n_layers
    left join token_frequencies frequency on frequency.model = d.model and frequency.token_id = d.target_id
    order by all
"""


def answer_tokens(connection: duckdb.DuckDBPyConnection, jsd_threshold: float, first_token: FirstToken) -> pd.DataFrame:
    """Return the answer tokens of a study.

    Args:
        connection: to its database.
        jsd_threshold: nats; from ``jsd_settled_layer`` on, every layer's divergence from layer L is at most this.
        first_token: which of an answer's tokens is its first: the first content token, or whichever is first.

    Returns:
        The rows of view ``token_depths`` with ``first_index`` (the answer index of the answer's first token),
        ``jsd_settled_layer``; ``answer`` (its text), ``frequency_rank`` (null if
        the token occurs in no document), ``n_lost`` (view ``token_flips``), ``target_logprob`` (of layer L, nats) and
        ``n_layers`` (L).
    """
    return connection.execute(_TOKENS, {"threshold": jsd_threshold, "first_token": first_token}).df()
