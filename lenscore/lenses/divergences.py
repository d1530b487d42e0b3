"""How far a trained lens is from its model: the table that its training writes."""

import pyarrow as pa

# results/<study>/lenses/<model>/<lens>-divergence.parquet: one row a training × layer, 0 to L.
LENS_DIVERGENCES = pa.schema(
    [
        ("training", pa.int32()),  # 0: that of the study's lens; 1, 2, …: with other seeds, measured on the same tokens
        ("layer", pa.int32()),
        ("logit_kl", pa.float32()),  # KL(model ‖ logit lens) on the held-out tokens, nats
        ("lens_kl", pa.float32()),  # KL(model ‖ this lens) on the same
        ("best_step", pa.int32()),  # of the training, at which validation was best; 0: its start; null at L
        ("n_tokens", pa.int32()),  # held out
    ]
)
