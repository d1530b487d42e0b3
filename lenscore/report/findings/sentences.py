"""Sentences of the findings that the page does not have: each on rows of one table, and no more than they show."""

from collections.abc import Callable, Sequence

from lenscore.report.findings.columns import plain, points, share, signed
from lenscore.report.findings.finding import Row
from lenscore.report.names import (
    ABLATED_BLOCK,
    CONTROLS,
    FIRST_TOKEN,
    MEASURE_NAMES,
    SCOPES,
    curve_name,
    documents,
    lens_name,
    listed,
    model_name,
    questions,
)

GROUPINGS = {
    "frequency_band": "the token's frequency",
    "token_class": "the token's class",
    "place_in_answer": "the token's place in the answer",
    "answer_kind": "the kind of answer",
}


def about_right_tokens(rows: Sequence[Row], settings: Row) -> str:
    """Return the sentence on how many right answer tokens follow a right first one.

    Args:
        rows: of the table ``accuracy_curve``, measure ``right_in_first_right``, one a position of one curve.
        settings: ``first_token``.
    """
    shares = [row["mean"] for row in rows]
    return (
        f"{_contexts(rows[0])}: of the answer tokens that are right, {share(min(shares))} to {share(max(shares))}, by "
        f"the gold document's place, belong to answers whose {FIRST_TOKEN[settings['first_token']]} is right."
    )


def about_whole_answers(rows: Sequence[Row]) -> str:
    """Return the sentence on answers right as a whole (rows of ``accuracy_curve``, one a position of one curve)."""
    shares = [row["mean"] for row in rows]
    return (
        f"{_contexts(rows[0])}: the whole answer is right in {share(min(shares))} to {share(max(shares))} of the "
        "contexts, by the gold document's place; greedy decoding begins with the answer in these alone."
    )


def about_control(row: Row) -> str:
    """Return the sentence on contexts with documents against a control (a row of the table ``controls``)."""
    what, difference = {
        "accuracy": ("the share of answer tokens right", f"{_difference(row, points)} percentage points"),
        "target_logprob": ("the answer token's log-probability", f"{_difference(row, signed)} nats"),
    }.get(row["measure"], (MEASURE_NAMES.get(row["measure"], ""), f"{_difference(row, signed)} layers"))
    return (
        f"{curve_name(row)}: {what} with the documents less in {CONTROLS[row['control']]} is {difference}, on the same "
        f"{row['n_tokens']} answer tokens."
    )


def about_distance(first: Row, last: Row) -> str:
    """Return the sentence on how far the gold document stands from the answer (rows of ``refinement_curve``)."""
    return (
        f"{_contexts(first)}: the gold document's first token stands {first['gold_distance']:.0f} tokens before the "
        f"prompt's last, on average, at relative position {plain(first['relative_position'])}, and "
        f"{last['gold_distance']:.0f} at {plain(last['relative_position'])}."
    )


def about_entropy(greatest: Row, last: Row) -> str:
    """Return the sentence on a lens's entropy by layer (two rows of the table ``entropy_by_layer``)."""
    return (
        f"{model_name(last)}, {last['lens']} lens: the mean entropy at the answer tokens is greatest at layer "
        f"{greatest['layer']} ({plain(greatest['entropy'])} nats) and is {plain(last['entropy'])} nats at the last, "
        f"{last['layer']}."
    )


def about_frequent(greatest: Row, last: Row) -> str:
    """Return the sentence on frequent top choices by layer (two rows of the table ``frequent_top1``)."""
    return (
        f"{model_name(last)}, {last['lens']} lens: the top choice is one of the {last['most']} most frequent tokens of "
        f"the documents most often at layer {greatest['layer']} ({share(greatest['share'])} of the answer tokens), and "
        f"at {share(last['share'])} at the last, {last['layer']}."
    )


def about_groups(least: Row, greatest: Row) -> str:
    """Return the sentence on the groups of one grouping (two rows of the table ``depth_by_group``)."""
    return (
        f"{model_name(least)}{lens_name(least)}, by {GROUPINGS[least['grouping']]}: {MEASURE_NAMES[least['measure']]} "
        f"is least for “{least['group']}” ({_layers(least)}) and greatest for “{greatest['group']}” "
        f"({_layers(greatest)})."
    )


def about_depth_by_lens(rows: Sequence[Row]) -> str:
    """Return the sentence on one measure through every lens (rows of ``depth_by_group``, one a lens)."""
    through = listed([f"{_layers(row)}, through the {row['lens']} lens" for row in rows])
    return f"{model_name(rows[0])}: mean {MEASURE_NAMES[rows[0]['measure']]} is {through}."


def about_space(space: Row, start: Row) -> str:
    """Return the sentence on tokens that are white space beside starts of words.

    Args:
        space: of the group of white space: ``accuracy`` of its tokens, and the ``mean`` of a ``measure`` with its ends.
        start: the same of the starts of words.
    """
    return (
        f"{model_name(space)}{lens_name(space)}: white space is right in {share(space['accuracy'])} of its tokens, a "
        f"word's start in {share(start['accuracy'])}; mean {MEASURE_NAMES[space['measure']]} is {_layers(space)}, "
        f"against {_layers(start)}."
    )


def about_costs(rows: Sequence[Row]) -> str:
    """Return the sentence on the blocks whose ablation costs most (rows of ``block_effects``, the costliest first)."""
    blocks = listed([f"{row['block']} by {_nats(row)}" for row in rows])
    return (
        f"{model_name(rows[0])}: when {ABLATED_BLOCK[rows[0]['replacement']]} {SCOPES[rows[0]['scope']]}, the answer "
        f"token's log-probability falls most at block{'s' * (len(rows) > 1)} {blocks}, in nats, over "
        f"{questions(rows[0]['n_questions'])}."
    )


def about_block(rows: Sequence[Row]) -> str:
    """Return the sentence on what one block's ablation costs at each part of the prompt (rows of ``block_effects``)."""
    costs = listed([f"{_nats(row)} {SCOPES[row['scope']]}" for row in rows])
    replaced = ABLATED_BLOCK[rows[0]["replacement"]].replace("the block", f"block {rows[0]['block']}")
    return (
        f"{model_name(rows[0])}: when {replaced}, the answer token's log-probability falls by {costs}, in nats, over "
        f"{questions(rows[0]['n_questions'])}."
    )


def about_model(row: Row) -> str:
    """Return the sentence on how large a model is and how often it is right with the gold document alone."""
    return (
        f"{row['model']} has {row['n_layers']} blocks and states of {row['hidden_size']} dimensions; in "
        f"{CONTROLS[row['condition']]} contexts the whole answer is right in {share(row['mean'])}."
    )


def about_aliases(row: Row) -> str:
    """Return the sentence on accepted answers (the result of :meth:`Results.aliases`)."""
    return (
        f"{row['n_several']} of {questions(row['n_questions'])} have more accepted answers than the one that is asked "
        "for."
    )


def about_prompts(row: Row) -> str:
    """Return the sentence on the study's prompts (``n_prompts`` and their names, ``prompts``)."""
    return f"All contexts are written in {row['n_prompts']} prompt{'s' * (row['n_prompts'] != 1)}: {row['prompts']}."


def _contexts(row: Row) -> str:
    return f"{model_name(row)}, {documents(row['n_documents'])}"


def _difference(row: Row, write: Callable[[float], str]) -> str:
    return f"{write(row['difference'])}{_interval(row, 'low', 'high', write, ' (', ')')}"


def _layers(row: Row) -> str:
    return f"{plain(row['mean'])} layers{_interval(row, 'low', 'high', plain, ', ')}"


def _nats(row: Row) -> str:
    interval = _interval(row, "logprob_drop_low", "logprob_drop_high", signed, " (", ")")
    return f"{signed(row['logprob_drop'])}{interval}"


def _interval(row: Row, low: str, high: str, write: Callable[[float], str], before: str, after: str = "") -> str:
    """Return an interval in words; nothing where there are too few questions for one."""
    return "" if row[low] is None else f"{before}{write(row[low])} to {write(row[high])}{after}"
