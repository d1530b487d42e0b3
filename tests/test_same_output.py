"""The same input gives the same output, however the work is divided: by shards, jobs or threads.

That two runs are the same to the byte is shown by tests/test_kill.py, in which one of them is ended by signals.
"""

import copy
import re
import shutil
from typing import Any

import duckdb
import pytest

from tests.conftest import Checkout

pytestmark = pytest.mark.slow

# Log-probabilities may differ by what the order of additions makes of float32: docs/restarts.md.
TOLERANCE = 1e-4
KEYS = "model, context_id, answer_index, lens, layer"


# What the finished study's shards and its cache hold: all of it is to be made anew.
ANEW = shutil.ignore_patterns(".cache", "contexts", "records", "answer_tokens", "fits", "ablation", "*.duckdb")


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory, finished: Checkout, config: dict[str, Any]) -> Checkout:
    """The finished study once more, in one shard instead of two, one job at a time, two threads to each.

    Its model, its dataset and its lens are those of the finished one: they know no shards.
    """
    checkout = Checkout(tmp_path_factory.mktemp("divided") / "checkout")
    shutil.copytree(finished.folder, checkout.folder, ignore=ANEW)
    checkout.write_config({**copy.deepcopy(config), "shard_size": 4}, "study.yaml")
    done = checkout.snakemake(
        "results/tiny/tiny.duckdb", "--configfile", "study.yaml", "--jobs", "1",
        "--set-threads", "extract_shard=2", "ablate_shard=2", "reference_means=2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # A job of one thread is said without their number.
    for rule in ("extract_shard", "ablate_shard", "reference_means"):
        [job] = re.findall(rf"^(?:local)?rule {rule}:\n(?:    .*\n)+", done.stderr, re.MULTILINE)
        assert "    threads: 2\n" in job
    return checkout


def compared(one: Checkout, other: Checkout, query: str) -> list[tuple[Any, ...]]:
    """Run a query over both databases, attached as ``one`` and ``other``."""
    with duckdb.connect() as connection:
        for name, checkout in (("one", one), ("other", other)):
            file = checkout.folder / "results/tiny/tiny.duckdb"
            connection.execute(f"attach '{file}' as {name} (read_only)")
        return connection.sql(query).fetchall()


def test_the_work_was_divided_otherwise(finished: Checkout, divided: Checkout) -> None:
    for checkout, shards in ((finished, 2), (divided, 1)):
        assert len(list((checkout.folder / "results/tiny/records/tiny/main").iterdir())) == shards


LISTED = "list_max(list_transform(list_zip(a.topk_logprobs, b.topk_logprobs), lambda pair: abs(pair[1] - pair[2])))"


@pytest.mark.parametrize(("table", "keys", "further"), [
    ("layer_records", KEYS, [
        LISTED,
        *(f"abs(a.{name} - b.{name})" for name in ("entropy", "own_token_logprob", "kl_to_final", "jsd_to_final")),
    ]),
    ("ablations", "model, context_id, answer_index, scope, replacement, block", []),
])  # fmt: skip
def test_no_choice_and_no_rank_changes_and_no_number_by_more_than_rounding(
    finished: Checkout, divided: Checkout, table: str, keys: str, further: list[str]
) -> None:
    numbers = [f"abs(a.{name} - b.{name})" for name in ("top1_logprob", "target_logprob")]
    differences = ", ".join(f"max({difference})" for difference in numbers + further)
    found = compared(
        finished,
        divided,
        f"""select (select count(*) from one.{table}), (select count(*) from other.{table}), count(*),
            count(*) filter (where (a.top1_id, a.target_rank, a.target_id) <> (b.top1_id, b.target_rank, b.target_id)),
            {differences}
        from one.{table} a join other.{table} b using ({keys})""",
    )
    n_one, n_other, n_both, n_changed, *greatest = found[0]
    assert 0 < n_one == n_other == n_both
    assert n_changed == 0
    assert all(difference <= TOLERANCE for difference in greatest)


def test_no_depth_changes(finished: Checkout, divided: Checkout) -> None:
    assert compared(finished, divided, "from one.token_depths except from other.token_depths") == []
    assert compared(finished, divided, "from other.token_depths except from one.token_depths") == []
    assert compared(finished, divided, "select count(*) from one.token_depths")[0][0] > 0
