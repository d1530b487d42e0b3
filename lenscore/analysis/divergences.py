"""How far each lens is from its model, layer by layer."""

import pandas as pd


def lens_divergence(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the divergences with a row a model × layer, and a column a lens.

    Args:
        rows: of the database's ``lens_divergences``: a row a model × trained lens × layer.

    Returns:
        ``model``, ``layer``, ``logit_kl``; of each trained lens ``<lens>_kl`` (KL(model ‖ lens), nats) and
        ``<lens>_best_step``; ``n_tokens``. All lenses of a model are measured on the same held-out tokens. Sorted by
        model and layer.
    """
    keys = ["model", "layer"]
    wide = rows[[*keys, "logit_kl", "n_tokens"]].drop_duplicates(keys)
    for lens, of_lens in rows.groupby("lens", sort=True):
        named = of_lens.rename(columns={"lens_kl": f"{lens}_kl", "best_step": f"{lens}_best_step"})
        wide = wide.merge(named[[*keys, f"{lens}_kl", f"{lens}_best_step"]], on=keys, how="left")
    ordered = wide.sort_values(keys, ignore_index=True)
    return ordered[[*[name for name in ordered if name != "n_tokens"], "n_tokens"]]
