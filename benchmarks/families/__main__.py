"""Write the table of families into docs/architectures.md: ``python -m benchmarks.families [model_type ...]``.

With names of families their outcomes are printed, and nothing is written.
"""

import json
import multiprocessing
import os
import resource
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from benchmarks.families.outcome import Outcome, outcome

_DOCS = Path(__file__).parents[2] / "docs" / "architectures.md"
_START, _END = "<!-- families -->", "<!-- /families -->"
_SECONDS, _BYTES = 120, 8 * 2**30  # a family's process may take


def main(names: Sequence[str]) -> None:
    """Run the families, one process each, and write or print what came of them."""
    classes = {
        name: found if isinstance(found, str) else found[0] for name, found in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items()
    }
    outcomes = {}
    for name in names or classes:
        outcomes[name] = in_a_process(name, classes[name])
        print(f"{name}: {json.dumps(asdict(outcomes[name]))}", flush=True)
    counts = Counter(found.verdict for found in outcomes.values())
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()))
    if not names:
        text = _DOCS.read_text(encoding="utf-8")
        before, after = text[: text.index(_START)], text[text.index(_END) :]
        table = "\n".join(lines(outcomes))
        _DOCS.write_text(f"{before}{_START}\n{table}\n{after}", encoding="utf-8")
    sys.exit(1 if counts["wrong"] else 0)


def in_a_process(name: str, model_class: str) -> Outcome:
    """Return a family's outcome, from a process of its own that may hang or run out of memory."""
    context = multiprocessing.get_context("fork")  # so that torch and transformers are imported once
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(name, model_class, sender))
    process.start()
    sender.close()
    try:
        found = receiver.recv() if receiver.poll(_SECONDS) else f"took more than {_SECONDS} s"
    except EOFError:
        found = "its process died"
    process.kill()
    process.join()
    return found if isinstance(found, Outcome) else Outcome(model_class, "not run", found)


def _run(name: str, model_class: str, sender: Any) -> None:
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (_BYTES + _address_space(), resource.RLIM_INFINITY))
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    try:
        sender.send(outcome(name, model_class))
    except Exception as error:
        sender.send(Outcome(model_class, "wrong", f"{type(error).__name__}: {error}"[:200]))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def lines(outcomes: dict[str, Outcome]) -> Iterator[str]:
    """Yield the lines of the table."""
    counts = Counter(found.verdict for found in outcomes.values())
    shared = sum(found.verdict == "agrees" and not found.reason for found in outcomes.values())
    yield ""
    yield (
        f"`make families`, with transformers {transformers.__version__} and torch {torch.__version__}: of "
        f"{len(outcomes)} entries {counts['agrees']} agree with their own code at every layer ({shared} of them share "
        f"prefixes), {counts['refused']} are refused, {counts['not run']} could not be built tiny or took too long, "
        f"{counts['wrong']} are wrong."
    )
    yield ""
    yield "| `model_type` | class | verdict | float32 | bfloat16 | ablation | why |"
    yield "|---|---|---|---|---|---|---|"
    for name, found in sorted(outcomes.items()):
        figures = " | ".join(
            "" if value is None else f"{value:.0e}" for value in (found.float32, found.bfloat16, found.ablation)
        )
        reason = found.reason.replace("|", "\\|").replace("<", "&lt;")
        yield f"| {name} | {found.model_class} | {found.verdict} | {figures} | {reason} |"


if __name__ == "__main__":
    main(sys.argv[1:])
