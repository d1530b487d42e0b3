"""The documents: templates with a study's blocks in their places, and the charts that they show."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import jinja2

from lenscore.files import written_whole
from lenscore.report.findings import accuracy_blocks, depth_blocks, layer_blocks
from lenscore.report.findings.finding import Block
from lenscore.report.findings.results import Results

TEMPLATES = Path(__file__).parent / "templates"
DOCUMENTS = ("findings.md", "limits.md")
# Beside the documents: the charts that they show, and what is written by hand.
FOLDER = "findings"
CHANGES = "changes.md"

# What a template may ask for, by name.
BLOCKS: Mapping[str, Callable[[Results], Block]] = {
    block.__name__: block
    for block in (
        accuracy_blocks.study, accuracy_blocks.coverage, accuracy_blocks.accuracy, accuracy_blocks.right_tokens,
        accuracy_blocks.whole_answers, accuracy_blocks.controls, accuracy_blocks.white_space,
        accuracy_blocks.space_tokens, accuracy_blocks.groups, accuracy_blocks.groups_right, accuracy_blocks.models,
        accuracy_blocks.aliases, accuracy_blocks.prompts, accuracy_blocks.depth_by_lens,
        depth_blocks.headline, depth_blocks.curves, depth_blocks.means, depth_blocks.populations,
        depth_blocks.primary_measure_by_population, depth_blocks.ways, depth_blocks.decomposition,
        depth_blocks.distance, depth_blocks.divergence_curves,
        layer_blocks.busiest_layers, layer_blocks.causes, layer_blocks.costs, layer_blocks.costs_by_scope,
        layer_blocks.all_layers, layer_blocks.lens_error, layer_blocks.lens_error_in_short, layer_blocks.overlap,
        layer_blocks.entropy, layer_blocks.frequent_top1,
    )
}  # fmt: skip

_CHART = re.compile(rf"\]\({FOLDER}/(\w+\.(?:svg|png))\)")


def write_documents(results: Results, charts: Path, docs: Path) -> list[Path]:
    """Write the findings and limits of a study with their charts, and return the files.

    Args:
        results: of the study.
        charts: the folder of its charts.
        docs: the folder to write to. Its ``findings/changes.md``, where there is one, ends the findings.

    Raises:
        UnsupportedNumberError: a sentence has a number that none of its rows has. Nothing was written then.
    """
    changes = docs / FOLDER / CHANGES
    written_by_hand = changes.read_text(encoding="utf-8").strip() if changes.exists() else ""
    texts = {name: rendered(name, results, written_by_hand) for name in DOCUMENTS}
    shown = sorted({chart for text in texts.values() for chart in _CHART.findall(text)})
    (docs / FOLDER).mkdir(parents=True, exist_ok=True)
    for chart in shown:
        with written_whole(docs / FOLDER / chart) as beside:
            shutil.copyfile(charts / chart, beside)
    for name, text in texts.items():
        with written_whole(docs / name) as beside:
            beside.write_text(text, encoding="utf-8")
    return [*(docs / name for name in DOCUMENTS), *(docs / FOLDER / chart for chart in shown)]


def rendered(document: str, results: Results, changes: str = "") -> str:
    """Return one document as Markdown.

    Args:
        document: one of ``DOCUMENTS``.
        results: of the study.
        changes: what changed since the last edition; the findings have no such section without it.
    """
    environment = jinja2.Environment(  # Markdown, in which < and & may stand as they are
        loader=jinja2.FileSystemLoader(TEMPLATES), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined, autoescape=False,
    )  # fmt: skip
    return environment.get_template(f"{document}.j2").render(
        study=results.config()["study"],
        block=lambda name: BLOCKS[name](results).markdown(),
        changes=changes,
    )
