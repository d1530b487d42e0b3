"""Some of a study's questions, built and tokenised as a job would, and counted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from lenscore.contexts.build import build_contexts
from lenscore.contexts.questions import Question, reserved_golds, study_order
from lenscore.errors import ContextError, counted
from lenscore.estimate.work import Counts
from lenscore.extraction.fitting import FittedContext, fit_contexts, group_by_question, window_of
from lenscore.extraction.tokens import ContextTokenizer, TokenisedContext
from lenscore.sources.pretrained import load_config, load_tokenizer
from lenscore.study.prompt import read_template, template_path
from lenscore.study.study import Study

# Questions of each context set that are built: their mean is within a few percent of all questions'. Of 24 it was not:
# answers differ in length more than contexts do.
_QUESTIONS = 48


@dataclass(frozen=True)
class Sampled:
    """What a model's contexts of one set come to, a question on average.

    Attributes:
        extracted: of a question of the study; questions that are left out count with nothing.
        ablated: the same of those of its contexts in which blocks are ablated.
        typical: a context of middle length.
    """

    extracted: Counts
    ablated: Counts
    typical: TokenisedContext


class Sampler:
    """Builds contexts of questions that are spread over a study.

    Args:
        study: the config.
        dataset: all questions.
    """

    def __init__(self, study: Study, dataset: Sequence[Question]):
        self._study = study
        self._dataset = dataset
        asked = study_order(dataset, study.seed)[: study.questions]
        step = max(1, len(asked) // _QUESTIONS)
        self._questions = asked[::step][:_QUESTIONS]

    def of_set(self, name: str, model: str, folder: Path) -> Sampled:
        """Return what a model's contexts of a set come to.

        Args:
            name: the context set.
            model: the model's name in the study.
            folder: its config and tokenizer.

        Raises:
            ContextError: a context cannot be built or tokenised, or is too long; or no question of the sample has one.
        """
        fitted = list(self._fitted(name, model, folder))
        by_question = [[tokens for _, tokens in pairs] for pairs in group_by_question(fitted)]
        documents = self._study.ablation.documents
        ablated = [
            [tokens for _, tokens in pairs]
            for pairs in group_by_question([one for one in fitted if one.context.can_be_ablated(documents)])
        ]
        contexts = sorted((context for question in by_question for context in question), key=lambda one: len(one.ids))
        if not contexts:
            raise ContextError(
                f"context_sets.{name}: none of {counted(len(self._questions), 'question')} has a context that fits "
                f"{model}: see missing_answer and overflow in docs/configuration.md"
            )
        share = 1 / len(self._questions)
        return Sampled(
            Counts.sum(map(Counts.of, by_question)).times(share),
            Counts.sum(map(Counts.of, ablated)).times(share),
            contexts[len(contexts) // 2],
        )

    def tokens_of_a_document(self, folder: Path) -> float:
        """Return how many tokens a gold document has on average."""
        tokenizer = load_tokenizer(folder)
        return mean(
            len(tokenizer(question.gold.text).input_ids) for question in self._questions if question.gold is not None
        )

    def _fitted(self, name: str, model: str, folder: Path) -> Iterator[FittedContext]:
        spec, settings = self._study.context_sets[name], self._study.run_settings(model, name)
        built = build_contexts(
            self._dataset,
            self._questions,
            first_place=0,
            set_name=name,
            spec=spec,
            template=read_template(template_path(spec.prompt)),
            missing_answer=self._study.missing_answer,
            answer_in_distractors=self._study.answer_in_distractors,
            reserved=reserved_golds(self._dataset, self._study.seed),
        )
        config = load_config(folder, model).get_text_config()
        window = window_of(getattr(config, "max_position_embeddings", None), settings.window)
        tokenizer = ContextTokenizer(load_tokenizer(folder), settings.chat)
        yield from fit_contexts(built.contexts, tokenizer, settings.overflow, window)
