"""The config's JSON schema, which editors use: generated, and as strict as the study itself."""

import json

import jsonschema
import pytest
import yaml

from lenscore.study.schema import schema_text
from lenscore.study.study import read_study
from tests.conftest import ROOT
from tests.test_study import LEAST


def test_schema_file_is_that_of_the_study() -> None:
    found = (ROOT / "config.schema.json").read_text(encoding="utf-8")
    assert found == schema_text(), "run `make schema`"


@pytest.mark.parametrize("file", ["config.yaml", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("studies/*"))])
def test_schema_takes_the_studies_of_the_project(file: str) -> None:
    schema = json.loads(schema_text())
    config = yaml.safe_load((ROOT / file).read_text())
    jsonschema.validate(config, schema)
    for change in ({"questons": 3}, {"questions": "3"}, {"context_sets": {"main": {"documents": [5], "positions": 1}}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(config | change, schema)


def test_schema_knows_the_keys_the_defaults_and_their_meaning() -> None:
    schema = json.loads(schema_text())
    assert schema["additionalProperties"] is False
    assert schema["properties"]["shard_size"]["default"] == 25
    section = schema["$defs"]["ContextSetSpec"]
    assert section["additionalProperties"] is False
    assert set(section["properties"]) == set(read_study(LEAST).context_sets["main"].model_dump())
    assert all("description" in key for key in section["properties"].values())
