"""The files of ablated shards: checked, loaded, and proved complete."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from lenscore.ablation.tables import ABLATIONS
from lenscore.errors import StoreError, shown_name
from lenscore.records import identity_mismatch


@dataclass(frozen=True)
class AblationShard:
    """The file of one ablation job."""

    model: str
    context_set: str
    shard: int
    file: Path

    def __str__(self) -> str:
        return f"model {self.model}, context set {self.context_set}, shard {self.shard} ({self.file})"


def check_ablation_shards(shards: Sequence[AblationShard], known: Collection[tuple[str, str, int]]) -> None:
    """Check that each file is that of its shard.

    Args:
        shards: the shards with their files.
        known: model, context set and number of every shard of the study, of which not all need be ablated.

    Raises:
        StoreError: a shard is given twice or is not of the study, or its file is missing or belongs to another shard.
    """
    given: set[tuple[str, str, int]] = set()
    for shard in shards:
        identity = (shard.model, shard.context_set, shard.shard)
        if identity in given:
            raise StoreError(f"{shard}: ablations given twice; each shard is loaded once")
        if identity not in known:
            raise StoreError(f"{shard}: no such shard in the study")
        given.add(identity)
        if not shard.file.is_file():
            raise StoreError(f"{shard}: the file is missing; ablate the shard again")
        if fault := identity_mismatch(shard.file, identity):
            raise StoreError(f"{shard}: {fault}; ablate the shard again")


def insert_ablations(connection: duckdb.DuckDBPyConnection, shard: AblationShard) -> None:
    """Insert the file of a shard whose contexts are already loaded.

    Raises:
        StoreError: its columns are not those of ``ABLATIONS``, or it has contexts that are not of this shard.
    """
    found = pq.read_schema(shard.file)
    if not found.equals(ABLATIONS):
        raise StoreError(f"{shard}: the file has columns {found.names}, expected {ABLATIONS.names}; ablate it again")
    foreign = connection.execute(
        """
        select distinct a.context_id from read_parquet($path) a
        anti join (select context_id from contexts where context_set = $context_set and shard = $shard) c
            using (context_id)
        order by all
        """,
        {"path": str(shard.file), "context_set": shard.context_set, "shard": shard.shard},
    ).fetchall()
    if foreign:
        raise StoreError(f"{shard}: {len(foreign)} contexts are not of this shard; the first is {foreign[0][0]}: "
                         "ablate the shard again")  # fmt: skip
    columns = ", ".join(ABLATIONS.names)
    try:
        connection.execute(
            f"insert into ablations (model, {columns}) select $model, {columns} from read_parquet($path)",
            {"model": shard.model, "path": str(shard.file)},
        )
    except duckdb.ConstraintException as error:
        raise StoreError(f"{shard}: the file has a row with a value missing: {error}") from error


# What can be wrong, each with a query for the contexts that have the fault.
_FAULTS = {
    "contexts with an ablation missing, doubled or too many": """
        with variants as (
            select 'none' as replacement, 0 as lowest_wanted
            union all select unnest($replacements), 1
        ), wanted as (
            select t.model, t.context_id, t.answer_index, s.scope, v.replacement, v.lowest_wanted,
                if(v.replacement = 'none', 0, m.n_layers) as highest_wanted
            from answer_tokens t join models m using (model)
            semi join ablations a on a.model = t.model and a.context_id = t.context_id
            cross join (select unnest($scopes) as scope) s cross join variants v
        ), found as (
            select model, context_id, answer_index, scope, replacement, count(*) as n_rows,
                count(distinct block) as n_blocks, min(block) as lowest, max(block) as highest
            from ablations group by all
        )
        select coalesce(w.model, f.model), coalesce(w.context_id, f.context_id)
        from wanted w full join found f using (model, context_id, answer_index, scope, replacement)
        where not coalesce(
            lowest = lowest_wanted and highest = highest_wanted
            and n_blocks = highest - lowest + 1 and n_rows = n_blocks, false
        )
    """,
    "answer tokens whose ablations have another target": """
        select a.model, a.context_id from ablations a join answer_tokens t using (model, context_id, answer_index)
        where a.target_id <> t.token_id
    """,
}


def check_ablations(
    connection: duckdb.DuckDBPyConnection,
    *,
    scopes: Sequence[str],
    replacements: Sequence[str],
    shards: Sequence[AblationShard],
) -> None:
    """Prove that each ablated context has every answer token × scope × variant exactly once.

    The variants are the intact model and every replacement of every block 1 … L.

    Raises:
        StoreError: a context does not; its shard is named.
    """
    by_identity = {(shard.model, shard.context_set, shard.shard): shard for shard in shards}
    settings = {"scopes": list(scopes), "replacements": list(replacements)}
    for fault, query in _FAULTS.items():
        rows = connection.execute(
            f"select distinct f.model, f.context_id, c.context_set, c.shard from ({query}) f(model, context_id) "
            "join contexts c using (context_id) order by all",
            settings if "$scopes" in query else {},
        ).fetchall()
        if rows:
            model, context_id, context_set, number = rows[0]
            shard = by_identity[(model, context_set, number)]
            raise StoreError(
                f"{len(rows)} {fault}; the first is {shown_name(context_id)} of {shard}: ablate that shard again"
            )
