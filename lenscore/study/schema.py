"""The JSON Schema of a study's config, for editors: ``python -m lenscore.study.schema`` writes config.schema.json."""

import json
from pathlib import Path

from lenscore.study.study import Study

SCHEMA = Path(__file__).parent.parent.parent / "config.schema.json"


def schema_text() -> str:
    """Return the schema as it stands in the file."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Study.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), encoding="utf-8")
