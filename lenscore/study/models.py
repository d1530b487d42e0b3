"""Section ``models``: where a model comes from, and the arithmetic it is run in."""

from typing import Literal

from pydantic import Field, model_validator

from lenscore.study.chat import ChatSpec
from lenscore.study.section import GitHash, PlainText, Section, Sha256, impossible, short_hash

MODEL_SOURCE = r"^(hub:[^/\s]+(/[^/\s]+)?|wheel:[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*|path:.+)$"
PATTERNS_IN_WORDS = {
    MODEL_SOURCE: "must be hub:<owner/name>, wheel:<package>==<version> or path:<folder or .gguf file>"
}

# How a model's matrices are multiplied: in its own precision, or rounded to bfloat16.
Matmul = Literal["exact", "bf16"]


class ModelSpec(Section):
    """Where a model comes from, and the arithmetic it is run in."""

    source: str = Field(
        description="hub:<owner/name> | wheel:<package>==<version> | path:<folder, or a GGUF file>",
        pattern=MODEL_SOURCE,
    )
    revision: GitHash | None = Field(default=None, description="Commit of a Hub model (required with hub:).")
    member: PlainText | None = Field(
        default=None, description="Path of the GGUF file in a wheel (required), or in a Hub repository that has one."
    )
    sha256: Sha256 | None = Field(default=None, description="SHA-256 of the wheel (required with wheel:).")
    weights: Literal["trained", "untrained"] = Field(
        default="trained",
        description="untrained: the same architecture, its weights drawn anew by its own rule with the study's seed.",
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="Precision of weights and residual stream; the lens's statistics are float32."
    )
    matmul: Matmul = Field(
        default="exact",
        description="Products of the blocks' matrices: exact, in dtype; bf16, rounded to bfloat16 while residual "
        "stream, attention and head stay in float32 (dtype: float32 alone).",
    )
    window: int | None = Field(
        default=None,
        ge=8,
        le=2**31 - 1,
        description="Longest context in tokens; null takes it from the model's own config.",
    )
    chat: ChatSpec = Field(default=ChatSpec(), description="What its chat template is given besides the turns.")

    @property
    def origin(self) -> dict[str, str | None]:
        """Where the model comes from, without how it is run; two trained models of one origin are the same files."""
        origin = {key: getattr(self, key) for key in ("source", "revision", "member", "sha256")}
        return origin if self.weights == "trained" else origin | {"weights": self.weights}

    def folder_name(self, name: str, seed: int) -> str:
        """Return the name of the folder of a model that a study calls ``name``.

        A hash of the origin is part of it, and of the study's seed where weights are drawn with it: two studies may
        call different models by one name.
        """
        drawn = {"seed": str(seed)} if self.weights == "untrained" else {}
        return f"{name}-{short_hash(self.origin | drawn)}"

    @model_validator(mode="after")
    def _pinned(self) -> "ModelSpec":
        kind = self.source.partition(":")[0]
        if kind == "hub" and not self.revision:
            raise impossible("revision", "a hub: model needs its revision, the 40 hex digits of a commit")
        if kind == "wheel" and not self.member:
            raise impossible("member", "a wheel: model needs member, the path of the GGUF file in the wheel")
        if kind == "wheel" and not self.sha256:
            raise impossible("sha256", "a wheel: model needs sha256, that of the wheel")
        for key, value, owners in (
            ("revision", self.revision, ("hub",)),
            ("member", self.member, ("wheel", "hub")),
            ("sha256", self.sha256, ("wheel",)),
        ):
            if value and kind not in owners:
                names = " and ".join(f"{owner}:" for owner in owners)
                raise impossible(key, f"belongs to {names} models, not to {kind}:; leave it out")
        if self.member and not self.member.lower().endswith(".gguf"):
            raise impossible("member", "must be a GGUF file (.gguf)")
        if self.matmul == "bf16" and self.dtype != "float32":
            raise impossible("matmul", f"bf16 is for dtype: float32; with {self.dtype} set it to exact")
        return self
