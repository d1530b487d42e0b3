"""Rule ablate_shard: what one model predicts in one shard's contexts with each of its blocks ablated."""

from pathlib import Path
from typing import Literal

from lenscore.plan.job import Inputs, Outputs, ShardJob
from lenscore.study.ablation import Replacement, Scope


class AblateInputs(Inputs):
    """The model's folder, the shard's contexts, and the blocks' means where a replacement needs them."""

    model: Path
    contexts: Path
    means: list[Path]


class AblateOutputs(Outputs):
    """The table of ablations, and the time that the model's passes and their predictions took."""

    ablations: Path
    spent: Path


class AblateJob(ShardJob):
    """Ablate every block in the contexts of a shard.

    Attributes:
        device: where to run.
        n_questions: the study's first questions; contexts of later ones are passed over.
        documents: numbers of documents of the contexts.
        replacements: what replaces a block's contribution.
        scopes: at which tokens.
    """

    inputs: AblateInputs
    outputs: AblateOutputs
    device: Literal["auto", "cpu", "cuda"]
    n_questions: int
    documents: list[int]
    replacements: list[Replacement]
    scopes: list[Scope]
