"""What verdicts on depth are read beside: how often the model is right at all, and with what kind of token."""

from collections.abc import Iterable, Sequence
from typing import Any

from lenscore.report.names import FIRST_TOKEN, documents, listed, model_name
from lenscore.report.page.sentences import Finding, way_in_words


def accuracy_sentences(accuracy: Sequence[Finding], settings: Finding) -> list[dict[str, Any]]:
    """Return one sentence per model, context set and number of documents, on first tokens and closed book.

    At the last layer every lens is the model, so the sentences belong to no lens.

    Args:
        accuracy: rows of the table ``accuracy_curve``.
        settings: ``confidence`` and ``first_token``.
    """
    of_first = [row for row in accuracy if row["measure"] == "first_token"]
    closed_book = {
        (row["model"], row["context_set"]): row["mean"] for row in of_first if row["condition"] == "closed_book"
    }
    # By curve, its positions under the first of the lenses.
    curves: dict[tuple[Any, ...], dict[Any, Finding]] = {}
    for row in of_first:
        if row["condition"] == "documents":
            curve = curves.setdefault((row["model"], row["context_set"], row["n_documents"]), {})
            curve.setdefault(row["gold_index"], row)
    return [
        {
            "words": about_accuracy(list(rows.values()), closed_book.get((model, context_set)), settings),
            "model": model,
            "lens": "",
            "n_documents": n_documents,
        }
        for (model, context_set, n_documents), rows in curves.items()
    ]


def no_curve_sentences(
    accuracy: Iterable[Finding], main_curves: Iterable[Finding], primary: Finding
) -> list[dict[str, Any]]:
    """Return one sentence per model and context set with numbers of documents for which the main curve is missing.

    An untrained model, or one too small for the questions, gets no answer token right that the curve is of.

    Args:
        accuracy: rows of the table ``accuracy_curve``.
        main_curves: rows of the table ``shapes`` of the primary analysis.
        primary: the primary analysis: ``measure``, ``tokens``, ``population``, ``lens``.
    """
    there = {(row["model"], row["context_set"], row["n_documents"]) for row in main_curves}
    missing: dict[tuple[str, str], list[Finding]] = {}
    for row in accuracy:
        placed = row["condition"] == "documents" and row["relative_position"] is not None
        curve = (row["model"], row["context_set"], row["n_documents"])
        if placed and row["measure"] == "answer_tokens" and row["lens"] == primary["lens"] and curve not in there:
            missing.setdefault(curve[:2], []).append(row)
    return [
        {"words": about_no_curve(rows, primary), "model": model, "lens": ""} for (model, _), rows in missing.items()
    ]


def about_no_curve(rows: Sequence[Finding], primary: Finding) -> str:
    """Return the sentence on the missing curves of a model (rows of ``accuracy_curve`` on all answer tokens there)."""
    lengths = listed([documents(count) for count in sorted({row["n_documents"] for row in rows})])
    n_tokens = sum(row["n_tokens"] for row in rows)
    n_right = round(sum(row["mean"] * row["n_tokens"] for row in rows))
    return (
        f"{model_name(rows[0])}: there is no curve of {way_in_words(primary)} with {lengths}, since no answer token "
        f"counts for it: of {n_tokens:,} answer tokens in these contexts {n_right:,} are right at the last layer."
    )


def about_accuracy(rows: Sequence[Finding], closed_book: float | None, settings: Finding) -> str:
    """Return the sentence on the first tokens of one curve.

    At a place the model is *right more often than closed book* if the whole interval of the paired difference lies
    above 0, and *not shown to be* otherwise.

    Args:
        rows: of the table ``accuracy_curve``, one a position of the gold document.
        closed_book: share of first tokens that are right without documents; None if the study has no such contexts.
        settings: ``confidence`` and ``first_token``.
    """
    name = f"{model_name(rows[0])}, {documents(rows[0]['n_documents'])}"
    first = f"the answer's {FIRST_TOKEN[settings['first_token']]} is"
    if closed_book is None or rows[0]["above_closed_book"] is None:
        least, most = (f"{end(row['mean'] for row in rows):.0%}" for end in (min, max))
        shares = least if least == most else f"{least} to {most}"
        return (
            f"{name}: {first} right in {shares} of the contexts, over the places of the gold document; the study has "
            "no closed book to compare with."
        )
    more = [row for row in rows if row["above_low"] > 0]
    rest = [row for row in rows if row["above_low"] <= 0]
    parts = []
    if rest:
        parts.append(
            f"not shown to be right more often than without documents with the gold document at {_places(rest)} "
            f"({_differences(rest)}; each {settings['confidence']:.0%} interval reaches 0 or lies below)"
        )
    if more:
        without = "so" if rest else "right more often than without documents with the gold document"
        parts.append(f"{without} at {_places(more)} ({_differences(more)})")
    return f"{name}: {first} {'; it is '.join(parts)}. Without documents it is right in {closed_book:.0%}."


def _places(rows: Sequence[Finding]) -> str:
    names = [str(row["gold_index"] + 1) for row in rows]
    return f"place{'s' * (len(names) > 1)} {listed(names)} of {rows[0]['n_documents']}"


def _differences(rows: Sequence[Finding]) -> str:
    rounded = [round(100 * row["above_closed_book"]) for row in rows]
    return f"{listed([f'{points:+d}'.replace('-', '−') if points else '0' for points in rounded])} percentage points"


def white_space_sentences(classes: Iterable[Finding], settings: Finding) -> list[str]:
    """Return one sentence per model and context set whose targets include white space.

    Args:
        classes: rows of the table ``token_classes``.
        settings: ``first_token``.
    """
    grouped: dict[tuple[str, str], list[Finding]] = {}
    for row in classes:
        grouped.setdefault((row["model"], row["context_set"]), []).append(row)
    return [
        about_white_space(rows, settings)
        for rows in grouped.values()
        if any(row["token_class"] == "space" for row in rows)
    ]


def about_white_space(classes: Sequence[Finding], settings: Finding) -> str:
    """Return the sentence on how many answer tokens of a model are white space alone (rows of ``token_classes``)."""
    (space,) = (row for row in classes if row["token_class"] == "space")
    n_answers, n_tokens = (sum(row[count] for row in classes) for count in ("n_opening", "n_tokens"))
    taken = {
        "content": "First tokens are therefore the first with a letter or digit.",
        "any": "They count among first tokens, since analysis.first_token is any.",
    }[settings["first_token"]]
    return (
        f"{model_name(space)}: white space alone is the target of {space['n_tokens']} of {n_tokens} answer tokens, and "
        f"of the very first token of {space['n_opening']} of {n_answers} answers. {taken}"
    )
