"""How a study is divided: shards of each context set, and which of them are ablated."""

from collections.abc import Iterator
from dataclasses import dataclass

from lenscore.study.study import Study


@dataclass(frozen=True)
class Shards:
    """The shards of a study. A shard's number is written with four digits, with more where there are more."""

    study: Study

    @property
    def count(self) -> int:
        """Number of shards of each context set."""
        return -(-self.study.questions // self.study.shard_size)

    def questions(self, shard: int) -> tuple[int, int]:
        """Return the places (first, end) of a shard's questions in the study's order."""
        size = self.study.shard_size
        return shard * size, min((shard + 1) * size, self.study.questions)

    def ablated_documents(self, context_set: str) -> list[int]:
        """Return the numbers of documents at which blocks are ablated in a context set."""
        chosen = self.study.ablation.documents
        return [n for n in self.study.context_sets[context_set].documents if chosen is None or n in chosen]

    def ablated_questions(self, shard: int) -> int:
        """Return how many of the study's first questions are ablated, up to those of this shard."""
        return min(self.questions(shard)[1], self.study.ablation.questions)

    def of_contexts(self) -> Iterator[tuple[str, int]]:
        """Yield (context set, shard) of every shard of contexts."""
        for name in self.study.context_sets:
            for shard in range(self.count):
                yield name, shard

    def of_records(self) -> Iterator[tuple[str, str, int]]:
        """Yield (model, context set, shard) of every extraction job."""
        for model in self.study.models:
            for name, shard in self.of_contexts():
                yield model, name, shard

    def of_ablations(self) -> Iterator[tuple[str, str, int]]:
        """Yield (model, context set, shard) of every ablation job: where there are contexts to ablate."""
        for model, name, shard in self.of_records():
            first, _ = self.questions(shard)
            if first < self.study.ablation.questions and self.ablated_documents(name):
                yield model, name, shard

    def of_reference(self) -> range:
        """Return the shards that hold the study's first questions, over whose contexts blocks' means are taken."""
        return range(min(self.count, -(-self.study.ablation.reference // self.study.shard_size)))


def shard_name(shard: int) -> str:
    """Return a shard's number as it stands in paths."""
    return f"{shard:04d}"
