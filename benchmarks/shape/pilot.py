"""What studies of other sizes would say: studies drawn from a finished pilot, named by the project's own rule.

    python -m benchmarks.shape.pilot results/pilot --documents 5,10 10 --positions 3 5 --questions 24 48

A design is some of the pilot's numbers of documents, some of its positions, and a number of questions. Of each, studies
are drawn: so many of the pilot's questions, with replacement. A question that is drawn twice is two questions. The
primary analysis of each is tested with the pilot's own settings, all curves of the study as one family. Printed is a
table in Markdown, a row a design.

The draws repeat the pilot's questions. They show how the verdict depends on which of them a study has, and say nothing
of other sets of questions.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd

from lenscore.analysis.measures import MEASURES
from lenscore.analysis.populations import SHAPE_KEYS, WITH_POSITION, selections
from lenscore.analysis.shape.shape_tests import shape_tests
from lenscore.analysis.tokens import answer_tokens
from lenscore.contexts.positions import gold_indices
from lenscore.databases import opened
from lenscore.study.analysis import AnalysisSpec, SmallestEffect

_CONTEXTS = """
    select c.question_id, c.condition, c.n_documents, c.gold_index, c.prompt, f.n_tokens
    from contexts c join fits f using (context_id) order by c.context_id
"""
_JOBS = "select format('{}/{}/{:04d}', model, context_set, shard) from extractions order by all"
COLUMNS = (
    "documents", "positions", "questions", "smallest effect, layers", "contexts", "tokens", "unique",
    "extraction, CPU minutes", "all curves decided", "verdicts of a curve",
    "interval of middle − ends, times the smallest effect",
)  # fmt: skip


@dataclass(frozen=True)
class Pilot:
    """A finished study of one model with one order of distractors.

    Attributes:
        tokens: rows of :func:`lenscore.analysis.tokens.answer_tokens` in contexts with documents, through the lens of
            the primary analysis.
        contexts: all contexts: question, condition, number of documents, gold index, prompt, ``n_tokens``.
        settings: of its statistics.
        extraction_seconds: processor time of its extraction.
    """

    tokens: pd.DataFrame
    contexts: pd.DataFrame
    settings: AnalysisSpec
    extraction_seconds: float

    @classmethod
    def read(cls, results: Path) -> "Pilot":
        """Read a study's folder of results.

        Raises:
            ValueError: it has several models.
        """
        findings = json.loads((results / "tables/findings.json").read_text())
        settings = AnalysisSpec.model_validate(findings["settings"])
        with opened(results / f"{results.name}.duckdb") as database:
            tokens = answer_tokens(database, settings.jsd_threshold, settings.first_token)
            contexts = database.execute(_CONTEXTS).df()
            jobs = database.execute(_JOBS).fetchall()
        if tokens["model"].nunique() > 1:
            raise ValueError(f"{results}: a pilot has one model")
        seconds = sum(_cpu_seconds(results / "benchmarks/extract_shard" / f"{job}.tsv") for (job,) in jobs)
        placed = (tokens["condition"] == "documents") & (tokens["lens"] == settings.primary.lens)
        return cls(tokens[placed], contexts, settings, seconds)

    @property
    def questions(self) -> list[str]:
        """The names of its questions, also of those without a right answer token."""
        return sorted(self.contexts["question_id"].unique())

    def with_smallest_effect(self, layers: float) -> "Pilot":
        """Return the same pilot, judged by another smallest effect."""
        return replace(
            self, settings=self.settings.model_copy(update={"smallest_effect": SmallestEffect(layers=layers)})
        )


@dataclass(frozen=True)
class Part:
    """What a design takes of the pilot.

    Attributes:
        tokens: of the primary analysis: those that count among the design's positions.
        contexts: of all of the pilot's questions, controls included.
        documents: the numbers of documents: each is a curve.
    """

    tokens: pd.DataFrame
    contexts: pd.DataFrame
    documents: Sequence[int]


def part_of(pilot: Pilot, documents: Sequence[int], n_positions: int) -> Part:
    """Return what a design of these numbers of documents and so many positions takes of the pilot.

    Which tokens count is decided anew: with fewer positions more are right at all of them.

    Raises:
        ValueError: the pilot has not all of these contexts, or no token counts.
    """
    wanted = {(n, place) for n in documents for place in gold_indices(n_positions, n)}

    def within(rows: pd.DataFrame) -> pd.Series:
        return pd.Series(
            [cell in wanted for cell in zip(rows["n_documents"], rows["gold_index"], strict=True)], rows.index
        )

    placed = pilot.contexts["condition"].isin(WITH_POSITION)
    contexts = pilot.contexts[~placed | within(pilot.contexts)]
    missing = wanted - set(zip(contexts["n_documents"], contexts["gold_index"], strict=True))
    if missing:
        raise ValueError(f"the pilot has no contexts with documents and gold index {sorted(missing)}")
    primary = pilot.settings.primary
    tokens = next(
        chosen
        for selection, _, chosen in selections(pilot.tokens[within(pilot.tokens)])
        if selection == (primary.tokens, primary.population)
    )
    counted = MEASURES[primary.measure].counted(tokens)
    if counted.empty:
        raise ValueError(f"the primary analysis has no token among {n_positions} positions of {documents} documents")
    return Part(counted, contexts, documents)


def drawn(tokens: pd.DataFrame, questions: Sequence[str]) -> pd.DataFrame:
    """Return the tokens of these questions; one that is named twice is there twice, under two names."""
    names = pd.DataFrame({"question_id": questions, "drawn": [f"{place:06d}" for place in range(len(questions))]})
    return tokens.merge(names, on="question_id").drop(columns="question_id").rename(columns={"drawn": "question_id"})


def shapes(pilot: Pilot, tokens: pd.DataFrame) -> pd.DataFrame:
    """Return the shapes of the study's curves in the primary analysis: the headline."""
    return shape_tests(tokens, pilot.settings, keys=SHAPE_KEYS, value=pilot.settings.primary.measure)


def n_unique(prompts: Sequence[str]) -> int:
    """Return how many characters are left of a question's prompts if common beginnings count once."""
    ordered = sorted(prompts)
    return sum(map(len, ordered)) - sum(_n_common(one, other) for one, other in pairwise(ordered))


def unique_share(contexts: pd.DataFrame) -> float:
    """Return which share of the contexts' tokens a model runs over, by their characters."""
    of_question = contexts.groupby("question_id")["prompt"]
    return float(of_question.agg(lambda prompts: n_unique(list(prompts))).sum() / contexts["prompt"].str.len().sum())


def simulated(pilot: Pilot, part: Part, n_questions: int, draws: int) -> list[pd.DataFrame]:
    """Draw studies of so many questions and return the shapes of each."""
    studies = []
    for draw in range(draws):
        rng = np.random.default_rng([pilot.settings.seed, n_questions, draw])
        studies.append(shapes(pilot, drawn(part.tokens, rng.choice(pilot.questions, n_questions).tolist())))
    return studies


def row(pilot: Pilot, part: Part, studies: Sequence[pd.DataFrame], n_positions: int, n_questions: int) -> str:
    """Return the row of a design, of which these studies were drawn."""
    found = pd.concat(studies)
    decided = [len(one) == len(part.documents) and (one["verdict"] != "undecided").all() for one in studies]
    width = (found["middle_high"] - found["middle_low"]) / found["smallest_effect"]
    share = n_questions / len(pilot.questions)
    tokens = part.contexts["n_tokens"].sum()
    unique = tokens * unique_share(part.contexts)
    of_pilot = pilot.contexts["n_tokens"].sum() * unique_share(pilot.contexts)
    cells = (
        ", ".join(map(str, part.documents)),
        n_positions,
        n_questions,
        f"{found['smallest_effect'].iloc[0]:.2g}",
        f"{len(part.contexts) * share:,.0f}",
        f"{tokens * share:,.0f}",
        f"{unique * share:,.0f}",
        f"{pilot.extraction_seconds * unique / of_pilot * share / 60:.1f}",
        f"{np.mean(decided):.0%}",
        "; ".join(f"{n}: {_shares(found.loc[found['n_documents'] == n, 'verdict'])}" for n in part.documents),
        f"{width.median():.1f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Print the table of the designs that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.shape.pilot",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", type=Path, help="the pilot's folder, results/<study>")
    parser.add_argument("--documents", nargs="+", required=True, help="numbers of documents of each design, as in 5,10")
    parser.add_argument("--positions", nargs="+", type=int, default=[5], help="of each design")
    parser.add_argument("--questions", nargs="+", type=int, required=True, help="of each design")
    parser.add_argument("--smallest-effect", nargs="+", type=float, help="in layers; by default the pilot's own")
    parser.add_argument("--draws", type=int, default=200, help="studies of each design")
    arguments = parser.parse_args()
    try:
        pilot = Pilot.read(arguments.results)
    except ValueError as error:
        parser.error(str(error))
    pilots = [pilot.with_smallest_effect(layers) for layers in arguments.smallest_effect or ()] or [pilot]
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for documents, n_positions in product(arguments.documents, arguments.positions):
        try:
            part = part_of(pilot, [int(n) for n in documents.split(",")], n_positions)
        except ValueError as error:
            parser.error(str(error))
        for n_questions, judged in product(arguments.questions, pilots):
            studies = simulated(judged, part, n_questions, arguments.draws)
            print(row(judged, part, studies, n_positions, n_questions), flush=True)


def _cpu_seconds(benchmark: Path) -> float:
    """Return a job's processor time, of the file in which Snakemake writes what it took."""
    return float(pd.read_csv(benchmark, sep="\t")["cpu_time"].iloc[0])


def _n_common(one: str, other: str) -> int:
    """Return how many characters two texts begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (mine, its) in pairs if mine != its), min(len(one), len(other)))


def _shares(verdicts: pd.Series) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in verdicts.value_counts(normalize=True).items())


if __name__ == "__main__":
    main()
