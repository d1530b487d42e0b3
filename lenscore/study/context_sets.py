"""Section ``context_sets``: ways of making contexts."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from lenscore.errors import shown
from lenscore.study.section import MOST_DOCUMENTS, PlainText, Section, Seed, impossible

# What to do with a dataset's own distractor that holds an accepted answer.
AnswerInDistractors = Literal["keep", "drop", "error"]


def _form_of_positions(value: object) -> str | None:
    """Return which form of ``positions`` a value takes, so that errors mention only the form that was meant."""
    if isinstance(value, str):
        return "all" if value == "all" else None
    if isinstance(value, int):
        return None if isinstance(value, bool) else "count"
    return "list" if isinstance(value, list) else None


Positions = Annotated[
    Annotated[Literal["all"], Tag("all")]
    | Annotated[int, Field(ge=2, le=MOST_DOCUMENTS), Tag("count")]
    | Annotated[list[Annotated[int, Field(ge=0, lt=MOST_DOCUMENTS)]], Tag("list")],
    Discriminator(
        _form_of_positions,
        custom_error_type="positions",
        custom_error_message="must be all, a count of 2 or more, or a list of gold indices",
    ),
]


class ContextSetSpec(Section):
    """One way of making contexts; each set is built and extracted by itself."""

    documents: list[Annotated[int, Field(ge=1, le=MOST_DOCUMENTS)]] = Field(
        max_length=1000, description="Numbers of documents in a context; may be empty where controls are asked for."
    )
    positions: Positions = Field(
        default=5,
        description="Gold indices: all; a count, evenly spread with both ends; or a list of indices.",
    )
    distractors: Literal["auto", "dataset", "bm25", "random"] = Field(
        default="auto",
        description="dataset: those it brings; bm25, random: from all other gold documents of the dataset; "
        "auto: the dataset's where it brings any, else bm25.",
    )
    prompt: PlainText = Field(
        default="few_shot", description="A template of lenscore/data/prompts, or the path of a .yaml file of your own."
    )
    order: Literal["shuffled", "ranked"] = Field(
        default="shuffled",
        description="The set's own order of a question's distractors: shuffled, drawn with the seed; ranked, as "
        "distractors gives them (bm25: the hardest first).",
    )
    orders: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Orders of the distractors: the set's own, and orders − 1 drawn with the seed.",
    )
    controls: list[Literal["closed_book", "oracle", "shuffled_gold"]] = Field(
        default=[],
        description="closed_book: no documents; oracle: the gold document alone; shuffled_gold: every context once "
        "more, with one more distractor in the gold document's place.",
    )
    overflow: Literal["error", "skip", "truncate_documents"] = Field(
        default="error", description="What to do where a context is longer than the model's window."
    )
    cut: Literal["answer", "start"] = Field(
        default="answer",
        description="With truncate_documents: keep the gold document's words around the answer, or every "
        "document's start (a question whose answer is then lost is skipped).",
    )
    seed: Seed = Field(default=0, description="Seed of random distractors, and of their orders.")

    @property
    def contexts_of_a_question(self) -> int:
        """Number of contexts of each question that has a gold document."""
        asked = 0
        for n_documents in self.documents:
            if self.positions == "all":
                n_positions = n_documents
            else:
                n_positions = self.positions if isinstance(self.positions, int) else len(self.positions)
            # A single distractor has only one order.
            asked += n_positions * ((self.orders if n_documents > 2 else 1) + ("shuffled_gold" in self.controls))
        return asked + sum(control in self.controls for control in ("closed_book", "oracle"))

    @model_validator(mode="after")
    def _possible(self) -> "ContextSetSpec":
        if not self.documents and not self.controls:
            raise impossible("documents", "must not be empty where no controls are asked for: the set has no contexts")
        for name, values in (("documents", self.documents), ("controls", self.controls)):
            if len(set(values)) != len(values):
                raise impossible(name, f"must not name a value twice; found {shown(values)}")
        if isinstance(self.positions, list) and len(set(self.positions)) != max(len(self.positions), 1):
            raise impossible("positions", f"must be one or more different gold indices; found {shown(self.positions)}")
        for n in self.documents:
            if isinstance(self.positions, list) and max(self.positions) >= n:
                raise impossible(
                    "positions", f"has gold index {max(self.positions)}, but the last of {n} has index {n - 1}"
                )
            if isinstance(self.positions, int) and n == 1:
                raise impossible(
                    "positions",
                    f"asks for {self.positions} places, but 1 document has one place: leave 1 out of documents and "
                    "set controls: [oracle], or set positions: all",
                )
            if isinstance(self.positions, int) and self.positions > n:
                raise impossible("positions", f"asks for {self.positions} places among {n} documents; at most {n}")
        return self
