"""Files between the benchmark and its workers: contexts as JSON, results as .npz.

Needs NumPy alone: a worker's environment may be without lenscore.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Context:
    """Prompt and answer as token ids; the answer begins at ``n_prompt``."""

    ids: list[int]
    n_prompt: int

    @property
    def input_ids(self) -> list[int]:
        """What the model reads; the last answer token is only to be predicted."""
        return self.ids[:-1]

    @property
    def targets(self) -> list[int]:
        """The answer tokens."""
        return self.ids[self.n_prompt :]

    @property
    def predicting(self) -> range:
        """The places of the states that predict the answer tokens: each just before its token."""
        return range(self.n_prompt - 1, len(self.ids) - 1)


@dataclass(frozen=True)
class Answers:
    """What a lens says of one context; every array is of layers 0 to L × answer tokens.

    Attributes:
        top1_id: the most probable token.
        target_logprob: the answer token's log-probability.
        runner_up_id: the second most probable token.
        lead: by how much its log-probability is less than the first one's.
    """

    top1_id: NDArray[np.int64]
    target_logprob: NDArray[np.float32]
    runner_up_id: NDArray[np.int64]
    lead: NDArray[np.float32]

    @classmethod
    def of(cls, top_ids: Any, top_logprobs: Any, target_logprob: Any) -> "Answers":
        """Make it of tensors of a lens: the two best tokens (…, 2), their log-probabilities, and the targets'."""
        ids, logprobs = np.asarray(top_ids, np.int64), np.asarray(top_logprobs, np.float32)
        return cls(
            top1_id=ids[..., 0],
            target_logprob=np.asarray(target_logprob, np.float32),
            runner_up_id=ids[..., 1],
            lead=logprobs[..., 0] - logprobs[..., 1],
        )


# One entry a question, holding one entry a context.
Questions = Sequence[Sequence[Context]]
Results = Sequence[Sequence[Answers]]


def write_questions(path: Path, questions: Questions) -> None:
    """Write the contexts of a workload."""
    path.write_text(json.dumps([[asdict(context) for context in contexts] for contexts in questions]))


def read_questions(path: Path) -> list[list[Context]]:
    """Read what :func:`write_questions` wrote."""
    return [[Context(**context) for context in contexts] for contexts in json.loads(path.read_text())]


def write_results(path: Path, results: Results) -> None:
    """Write what a lens says of a workload."""
    arrays = {
        f"{question}/{context}/{field.name}": getattr(answers, field.name)
        for question, of_question in enumerate(results)
        for context, answers in enumerate(of_question)
        for field in fields(Answers)
    }
    np.savez(path, allow_pickle=False, **arrays)


def read_results(path: Path, questions: Questions) -> list[list[Answers]]:
    """Read what :func:`write_results` wrote of ``questions``."""
    with np.load(path, allow_pickle=False) as file:
        return [
            [
                Answers(**{field.name: file[f"{question}/{context}/{field.name}"] for field in fields(Answers)})
                for context in range(len(contexts))
            ]
            for question, contexts in enumerate(questions)
        ]
