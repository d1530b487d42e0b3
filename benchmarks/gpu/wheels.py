"""Libraries that a bare machine lacks: downloaded where there is a network, unpacked where there is none.

``python -m benchmarks.gpu.wheels`` (``make gpu-wheels``) downloads the versions that constraints.txt pins into
``.bench/gpu-wheels``, a folder for each version of Python. The check unpacks those of them that the machine lacks into
a temporary folder, for its own processes alone. What is there already is used as it is, whatever its version.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / ".bench/gpu-wheels"
_CONSTRAINTS = CHECKOUT / "constraints.txt"

# By the module that the check imports: the packages that it takes. What PyTorch itself needs is not listed.
_PACKAGES = {
    "pydantic": ("pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions"),
    "jaxtyping": ("jaxtyping", "wadler-lindig"),
    "psutil": ("psutil",),
    "safetensors": ("safetensors",),
    "accelerate": ("accelerate",),
    "transformers": (
        "transformers", "tokenizers", "safetensors", "huggingface-hub", "hf-xet", "httpx2", "httpcore2", "h11", "anyio",
        "idna", "truststore", "regex", "tqdm", "pyyaml", "packaging", "typer", "click",
    ),
}  # fmt: skip

# Machines with a GPU run Linux on x86-64; the newest wheels ask for glibc 2.28.
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def download(python: str) -> Path:
    """Download the wheels for a version of Python, as in 3.12; return their folder.

    Raises:
        subprocess.CalledProcessError: pip, which says why.
    """
    folder = FOLDER / python
    shutil.rmtree(folder, ignore_errors=True)  # wheels of other pins
    folder.mkdir(parents=True)
    platforms = [argument for platform in _PLATFORMS for argument in ("--platform", platform)]
    packages = sorted({package for packages in _PACKAGES.values() for package in packages})
    subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--only-binary=:all:", "--python-version", python, "--implementation", "cp", *platforms,
            "--constraint", str(_CONSTRAINTS), "--dest", str(folder), *packages,
        ],
        check=True,
    )  # fmt: skip
    return folder


def missing_modules() -> list[str]:
    """Return the modules that the check imports and this Python does not find."""
    return [module for module in _PACKAGES if importlib.util.find_spec(module) is None]


def unpack(modules: Sequence[str], target: Path) -> list[str]:
    """Unpack the wheels of modules that are missing; return the wheels' names.

    Raises:
        FileNotFoundError: a wheel is not there; says how to get it.
        subprocess.CalledProcessError: a wheel is for another version of Python, or pip is missing; pip says which.
    """
    if not modules:
        return []
    wheels = sorted({wheel for module in modules for wheel in _wheels_of(module)})
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index",
            "--target", str(target), *map(str, wheels),
        ],
        check=True,
    )  # fmt: skip
    return [wheel.name for wheel in wheels]


def _wheels_of(module: str) -> Iterator[Path]:
    folder = FOLDER / f"{sys.version_info.major}.{sys.version_info.minor}"
    for package in _PACKAGES[module]:
        found = [*folder.glob(f"{package.replace('-', '_')}-*.whl")]
        if not found:
            raise FileNotFoundError(
                f"this Python has no {module}, and {folder.relative_to(CHECKOUT)} has no wheel of {package}: install "
                "it, or run make gpu-wheels where there is a network, and bring the folder along"
            )
        yield found[0]


def main() -> None:
    """Download the wheels."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.wheels", description=__doc__.partition("\n")[0])
    parser.add_argument("--python", default="3.12", help="version of the machine's Python (default: 3.12)")
    folder = download(parser.parse_args().python)
    wheels = [*folder.glob("*.whl")]
    megabytes = sum(wheel.stat().st_size for wheel in wheels) / 1e6
    print(f"{folder.relative_to(CHECKOUT)}: {len(wheels)} wheels, {megabytes:.0f} MB")


if __name__ == "__main__":
    main()
