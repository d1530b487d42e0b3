"""Section ``dataset``: where the questions come from."""

import re
from typing import Literal
from urllib.parse import unquote_plus, urlsplit

from pydantic import Field, model_validator

from lenscore.study.section import GitHash, PlainText, Section, Sha256, impossible, short_hash

DATASET_SOURCE = r"^(embedded:questions|path:.+|url:https?://\S+|hub:[^/\s]+(/[^/\s]+)?)$"
PATTERNS_IN_WORDS = {
    DATASET_SOURCE: "must be embedded:questions, path:<file>, url:<https address> or hub:<owner/name>",
}

# What addresses call the parameters that hold a secret: words in their names, and whole names.
_SECRET = re.compile(
    r".*(token|passw|secret|signature|credential|api[_-]?key|access[_-]?key|sess(ion)?[_-]?id|hmac|bearer).*"
    r"|([^=]*[_.-])?(sig|sign|sas|pass|pwd|auth|authorization|oauth|jwt|otp|ticket)",
    re.IGNORECASE | re.DOTALL,
)
# A name that ends so holds one too (`key`, `rlkey`, `resourcekey`), unless it is a store's name of a file that follows.
_KEY = re.compile(r".*key", re.IGNORECASE | re.DOTALL)
_NAME_OF_A_FILE = re.compile(r"[\w ./-]+\.(jsonl?|ndjson|csv|tsv|txt|parquet|arrow|gz|bz2|xz|zst|zip)", re.IGNORECASE)


def _holds_a_secret(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise impossible("source", f"is no address: {error}") from None
    # Parameters stand behind a question mark, sometimes behind a semicolon; a browser's may stand behind a hash.
    parameters = re.split("[?;&#]", parts._replace(scheme="", netloc="").geturl())[1:]
    return "@" in parts.netloc or any(map(_is_secret, parameters))


def _is_secret(parameter: str) -> bool:
    name, _, value = map(unquote_plus, parameter.partition("="))
    of_a_file = _NAME_OF_A_FILE.fullmatch(value) is not None
    return bool(_SECRET.fullmatch(name)) or (bool(_KEY.fullmatch(name)) and not of_a_file)


class DatasetSpec(Section):
    """Where the questions come from."""

    source: str = Field(
        description="embedded:questions | path:<file> | url:<https address> | hub:<owner/name>",
        pattern=DATASET_SOURCE,
    )
    format: Literal[
        "auto", "questions", "lost_in_the_middle", "nq_open", "key_value", "squad", "trivia_qa", "kilt", "dpr"
    ] = Field(
        default="auto",
        description="What a row is; auto recognises it by the keys of the first row.",
    )
    sha256: Sha256 | None = Field(default=None, description="Expected SHA-256 of the file (path: and url:).")
    git_blob: GitHash | None = Field(
        default=None, description="Expected git blob id of the file, instead of a SHA-256 (path: and url:)."
    )
    revision: GitHash | None = Field(default=None, description="Commit of a Hub dataset (required with hub:).")
    config: PlainText | None = Field(default=None, description="Configuration (subset) of a Hub dataset.")
    split: PlainText = Field(default="validation", description="Split of a Hub dataset.")

    @property
    def name(self) -> str:
        """Name of the dataset's folder: what it is called, and a hash where two may be called the same."""
        kind, _, place = self.source.partition(":")
        stem = re.sub(r"[^a-z0-9]+", "-", place.rpartition("/")[2].partition(".")[0].lower()).strip("-")[:80]
        if kind == "embedded" and self.format == "auto":
            return f"embedded-{stem}"
        return f"{stem or kind}-{short_hash(self.model_dump(mode='json'))}"

    @model_validator(mode="after")
    def _pinned(self) -> "DatasetSpec":
        kind, _, place = self.source.partition(":")
        if kind == "url" and _holds_a_secret(place):
            raise impossible(
                "source",
                "the address holds a password, token or key, which logs and reports would show; give the address "
                "without it, and put name and password into ~/.netrc, or fetch the file and give path:<file>",
            )
        if kind == "url" and not (self.sha256 or self.git_blob):
            raise impossible(
                "sha256", "a url: dataset needs sha256 or git_blob, so that what is fetched is what was meant"
            )
        if kind == "hub" and not self.revision:
            raise impossible("revision", "a hub: dataset needs its revision, the 40 hex digits of a commit")
        for key, value, kinds in (
            ("revision", self.revision, ("hub",)),
            ("config", self.config, ("hub",)),
            ("sha256", self.sha256, ("path", "url")),
            ("git_blob", self.git_blob, ("path", "url")),
        ):
            if value and kind not in kinds:
                raise impossible(key, f"belongs to {': and '.join(kinds)}: datasets, not to {kind}:; leave it out")
        return self
