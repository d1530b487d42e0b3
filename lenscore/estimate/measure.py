"""The speed of one model on this machine, from a short pass. The main module of a process of its own.

Its memory is then that of a job that runs the model. Several of them at once show what jobs that run beside one
another leave each other.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lenscore.errors import ContextError
from lenscore.files import write_json
from lenscore.study.models import Matmul

# Positions whose rows are timed: enough for the head to be read as seldom as in a job.
_POSITIONS = 8
_WARM_UP = 64
# Of ru_maxrss: bytes on macOS, elsewhere KiB.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Speed:
    """What was measured of a model.

    Attributes:
        n_layers: L.
        width: of the residual stream.
        shares: whether contexts share their prefixes.
        start: seconds until the model is ready, imports included.
        token_block: seconds of a token in a block.
        row: seconds of a distribution over the vocabulary and its statistics.
        memory: bytes that the process used at most; a GPU's are not among them, and a model that one cannot hold fails.
    """

    n_layers: int
    width: int
    shares: bool
    start: float
    token_block: float
    row: float
    memory: int


def measure(
    folder: Path, ids: list[int], *, dtype: str, matmul: Matmul, device: str, threads: int, begun: float
) -> Speed:
    """Load a model and time a pass over one context.

    Args:
        folder: the model's.
        ids: a context's token ids.
        dtype: precision.
        matmul: how the blocks' matrices are multiplied.
        device: where to run.
        threads: CPU threads.
        begun: ``time.time()`` when the process was started.
    """
    import torch

    from lenscore.extraction.statistics import lens_statistics
    from lenscore.extraction.tokens import TokenisedContext
    from lenscore.lenses.logit import LogitLens
    from lenscore.models.device import resolve_device, use_threads
    from lenscore.models.loading import load_model
    from lenscore.models.packed_linears import pack_linears
    from lenscore.prefix_tree.sharing import ContextRunner

    use_threads(threads)
    loaded = pack_linears(load_model(folder, dtype, resolve_device(device)), matmul)
    runner = ContextRunner(loaded)
    lens = LogitLens(loaded.unembedding)

    def timed(tokens: list[int]) -> tuple[float, float]:
        n_positions = min(_POSITIONS, len(tokens) - 1)
        context = TokenisedContext(tokens, len(tokens) - n_positions, border_merged=False)
        started = time.perf_counter()
        states = runner.states([context])
        passed = time.perf_counter()
        lens_statistics(lens, states, torch.tensor(context.answer_ids), top_k=5)
        return (
            (passed - started) / (len(tokens) - 1) / loaded.n_layers,
            (time.perf_counter() - passed) / n_positions / (loaded.n_layers + 1),
        )

    start = time.time() - begun
    timed(ids[:_WARM_UP])
    token_block, row = timed(ids)
    return Speed(
        n_layers=loaded.n_layers,
        width=loaded.width,
        shares=runner.fallback_reason is None,
        start=start,
        token_block=token_block,
        row=row,
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT,
    )


def measure_beside_one_another(
    folder: Path, ids: list[int], n_processes: int, *, dtype: str, matmul: str, device: str
) -> Speed:
    """Measure a model in several processes at once, a thread each, and return the mean of what they found.

    Args:
        folder: the model's.
        ids: a context's token ids.
        n_processes: how many jobs are to run at once.
        dtype: precision.
        matmul: how the blocks' matrices are multiplied.
        device: where to run.

    Raises:
        ContextError: a process failed; the message is the last line of what it said.
    """
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "ids.json"
        write_json(file, ids)
        options = {"dtype": dtype, "matmul": matmul, "device": device, "threads": "1", "begun": str(time.time())}
        command = [sys.executable, "-m", __name__, str(folder), str(file)]
        command += [word for name, value in options.items() for word in (f"--{name}", value)]
        processes = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(n_processes)
        ]
        said = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, said, strict=True):
        if process.returncode != 0:
            words = errors.strip().splitlines() or [f"exit status {process.returncode}"]
            raise ContextError(f"{folder.name}: a short pass of the model failed: {words[-1]}")
    found = [Speed(**json.loads(answer)) for answer, _ in said]
    return Speed(**{field.name: _middle([getattr(one, field.name) for one in found]) for field in fields(Speed)})


def _middle(values: list[Any]) -> Any:
    """Return the mean of times; of what is the same in all processes, or a whole number, the largest."""
    return sum(values) / len(values) if isinstance(values[0], float) else max(values)


def main() -> None:
    """Measure what the command line asks for; print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("ids", type=Path, help="a JSON file: a context's token ids")
    for name in ("dtype", "matmul", "device"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--begun", type=float, required=True)
    arguments = vars(parser.parse_args())
    ids = json.loads(arguments.pop("ids").read_text(encoding="utf-8"))
    print(json.dumps(asdict(measure(ids=ids, **arguments))))


if __name__ == "__main__":
    main()
