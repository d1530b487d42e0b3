"""One prompt through a lens at every layer: its numbers as tables, and as a grid to look at."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from rich.table import Table

from lenscore.extraction.statistics import LensStatistics
from lenscore.notebook.grid import Cell, Grid, html_of, rich_of


@dataclass(frozen=True)
class ReadToken:
    """A token that a prompt was read for: what the state before it is to predict.

    Attributes:
        position: its place in the text of prompt and answer, in tokens from 0.
        token_id: its id.
        token: its text; bytes that are no whole character are U+FFFD.
        part: ``prompt``; ``answer``; or ``own``: the model's own next token, as no answer was given.
    """

    position: int
    token_id: int
    token: str
    part: Literal["prompt", "answer", "own"]


@dataclass(frozen=True, repr=False)
class Reading:
    """What a lens says at every layer about the tokens of a prompt or its answer.

    Layer 0 is the embedding output, layer l the output of block l; at layer L, the last, the lens is the model itself.
    In a notebook it shows itself as a grid of layers and tokens.

    Attributes:
        model: the name of the model.
        lens: the name of the lens.
        tokens: the tokens that it is about, in order: the columns of the grid.
        statistics: of each layer and token, as tensors of shape (layers, tokens).
        texts: the text of every token id in the statistics.
    """

    model: str
    lens: str
    tokens: tuple[ReadToken, ...]
    statistics: LensStatistics
    texts: dict[int, str]

    @property
    def n_layers(self) -> int:
        """L, the number of the model's blocks; there are L + 1 layers to read."""
        return len(self.statistics.top1_id) - 1

    def table(self) -> pd.DataFrame:
        """Return a row a layer × token, layers rising.

        Columns: ``layer``; ``index``, the token's place among :attr:`tokens`; ``position``, ``token``, ``token_id`` and
        ``part`` as in :class:`ReadToken`; ``top1``, ``top1_id`` and ``top1_probability`` of the most probable token;
        ``probability`` and ``rank`` (1: it is the most probable) of the token itself; ``entropy`` of the layer's
        distribution over the vocabulary, ``kl``, the divergence KL(final ‖ layer) from the model's own, and ``jsd``,
        the Jensen–Shannon divergence of both, all in nats.
        """
        of = self.statistics
        layers, places = np.indices(of.top1_id.shape).reshape(2, -1)
        tokens = pd.DataFrame([vars(token) for token in self.tokens]).iloc[places].reset_index(drop=True)
        found = pd.DataFrame(
            {
                "layer": layers,
                "index": places,
                **tokens,
                "top1": [self.texts[token] for token in of.top1_id.flatten().tolist()],
                "top1_id": of.top1_id.flatten().numpy(),
                "top1_probability": of.top1_logprob.exp().flatten().numpy(),
                "probability": of.target_logprob.exp().flatten().numpy(),
                "rank": of.target_rank.flatten().numpy(),
                "entropy": of.entropy.flatten().numpy(),
                "kl": of.kl_to_final.flatten().numpy(),
                "jsd": of.jsd_to_final.flatten().numpy(),
            }
        )
        return found

    def depths(self) -> pd.DataFrame:
        """Return a row a token: where it becomes right, and from where it stays right.

        Columns: ``index``, ``position``, ``token``, ``token_id``, ``part``; ``final_right``: it is the model's own
        prediction; ``first_correct_layer``: the lowest layer whose most probable token it is (missing: there is none);
        and where it is right in the end ``settled_layer``: from which on it is the most probable at every layer;
        ``refinement_depth``: their difference in layers (Kongmanee 2025, arXiv 2501.15054); ``soft_depth``: the sum
        over the layers of 1 − min(1, p / p at layer L), in layers. They are those of a study: docs/definitions.md.
        """
        right = (self.statistics.target_rank == 1).numpy()
        last = right[-1]
        first = np.where(right.any(0), right.argmax(0), -1)
        settled = len(right) - right[::-1].cumprod(0).sum(0)
        logprobs = self.statistics.target_logprob.double().numpy()
        soft = (1 - np.exp(np.minimum(0.0, logprobs - logprobs[-1]))).sum(0)
        found = pd.DataFrame([vars(token) for token in self.tokens])
        found.insert(0, "index", range(len(found)))
        found["final_right"] = last
        found["first_correct_layer"] = pd.Series(first, dtype="Int64").mask(first < 0)
        found["settled_layer"] = pd.Series(settled, dtype="Int64").mask(~last)
        found["refinement_depth"] = found["settled_layer"] - found["first_correct_layer"]
        found["soft_depth"] = pd.Series(soft).mask(~last)
        return found

    def grid(self) -> Grid:
        """Return what is drawn: a row a layer, the last on top, a column a token."""
        of, texts = self.statistics, self.texts
        rows = [
            [
                Cell(
                    text=texts[int(of.top1_id[layer, index])],
                    probability=float(of.target_logprob[layer, index].exp()),
                    right=int(of.target_rank[layer, index]) == 1,
                    said=self._said(layer, index),
                )
                for index in range(len(self.tokens))
            ]
            for layer in range(self.n_layers, -1, -1)
        ]
        return Grid(
            title=f"{self.model}, {self.lens} lens: the most probable token at each layer",
            columns=[token.token for token in self.tokens],
            parts=[token.part for token in self.tokens],
            layers=list(range(self.n_layers, -1, -1)),
            rows=rows,
        )

    def _said(self, layer: int, index: int) -> str:
        of = self.statistics
        kept = zip(of.topk_ids[layer, index].tolist(), of.topk_logprobs[layer, index].tolist(), strict=True)
        best = ", ".join(f"{self.texts[token]!r} {np.exp(logprob):.1%}" for token, logprob in kept)
        token = self.tokens[index].token
        return (
            f"layer {layer}: {best}; {token!r} has {float(of.target_logprob[layer, index].exp()):.2%}, rank "
            f"{int(of.target_rank[layer, index]):,}; entropy {float(of.entropy[layer, index]):.2f} nats, KL to the "
            f"model's own {float(of.kl_to_final[layer, index]):.2f} nats"
        )

    def __repr__(self) -> str:
        read = "".join(token.token for token in self.tokens)
        size = f"{self.n_layers + 1} layers × {len(self.tokens)} tokens"
        return f"<Reading of {read!r} by {self.model}, {self.lens} lens: {size}>"

    def _repr_html_(self) -> str:
        return html_of(self.grid())

    def __rich__(self) -> Table:
        return rich_of(self.grid())
