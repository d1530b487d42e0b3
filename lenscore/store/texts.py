"""Tables of texts: the documents of the contexts, and the tokens of the records."""

from collections import Counter
from collections.abc import Iterable

import duckdb
from tokenizers import Tokenizer

from lenscore.contexts.questions import Document
from lenscore.errors import StoreError
from lenscore.store.rows import insert_rows
from lenscore.store.token_classes import token_classes
from lenscore.store.token_texts import TokenTexts


def insert_documents(connection: duckdb.DuckDBPyConnection, documents: Iterable[Document]) -> None:
    """Insert the documents that occur in the contexts of the database.

    Raises:
        StoreError: one of them is not among ``documents``.
    """
    wanted = {name for (name,) in connection.execute("select distinct unnest(document_ids) from contexts").fetchall()}
    rows = {
        document.document_id: (document.document_id, document.title, document.text)
        for document in documents
        if document.document_id in wanted
    }
    if missing := sorted(wanted - set(rows)):
        raise StoreError(
            f"{len(missing)} documents of contexts are not in the dataset, the first is {missing[0]}: build the "
            "contexts again from the current dataset"
        )
    insert_rows(connection, "documents", ["document_id", "title", "document_text"], rows.values())


def insert_vocabulary(connection: duckdb.DuckDBPyConnection, model: str, tokenizer: Tokenizer) -> None:
    """Insert the text of every token id in a model's records."""
    ids = connection.execute(
        """
        select distinct token_id from (
            select unnest(topk_ids) as token_id from layer_records where model = $model
            union all select top1_id from layer_records where model = $model
            union all select target_id from layer_records where model = $model
            union all select top1_id from ablations where model = $model
        ) order by token_id
        """,
        {"model": model},
    ).fetchall()
    text = TokenTexts(tokenizer)
    rows = [(model, token, text(token)) for (token,) in ids]
    insert_rows(connection, "vocabulary", ["model", "token_id", "token_text"], rows)


def set_token_classes(connection: duckdb.DuckDBPyConnection, model: str, tokenizer: Tokenizer) -> None:
    """Set ``token_class`` of all answer tokens of a model, by :func:`lenscore.store.token_classes.token_classes`."""
    answers = connection.execute(
        """
        select list(context_id), ids, answer, border_merged from (
            select t.context_id, any_value(c.answer) as answer, bool_or(t.border_merged) as border_merged,
                list(t.token_id order by t.answer_index) as ids
            from answer_tokens t join contexts c using (context_id)
            where t.model = $model group by t.context_id
        ) group by all
        """,
        {"model": model},
    ).fetchall()
    text = TokenTexts(tokenizer)
    rows = [
        (context, index, of_token)
        for contexts, ids, answer, merged in answers
        for index, of_token in enumerate(
            token_classes([text.in_bytes(token) for token in ids], answer, border_merged=merged)
        )
        for context in contexts
    ]
    connection.execute("create temp table classes (context_id varchar, answer_index integer, token_class varchar)")
    insert_rows(connection, "classes", ["context_id", "answer_index", "token_class"], rows)
    connection.execute(
        """
        update answer_tokens set token_class = classes.token_class from classes
        where answer_tokens.model = $model and answer_tokens.context_id = classes.context_id
            and answer_tokens.answer_index = classes.answer_index
        """,
        {"model": model},
    )
    connection.execute("drop table classes")


def insert_token_counts(connection: duckdb.DuckDBPyConnection, model: str, tokenizer: Tokenizer) -> None:
    """Count a model's tokens in the texts of the documents. Each text follows a space, as in running text."""
    texts = connection.execute("select distinct ' ' || document_text from documents").fetchall()
    tokenizer.encode_special_tokens = True  # those in a document's words are plain text, as in contexts
    counts: Counter[int] = Counter()
    for encoding in tokenizer.encode_batch([text for (text,) in texts], add_special_tokens=False):
        counts.update(encoding.ids)
    rows = [(model, token, n) for token, n in sorted(counts.items())]
    insert_rows(connection, "token_counts", ["model", "token_id", "n"], rows)
