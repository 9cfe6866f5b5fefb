"""manage.py export_schema."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from flows.definition.schema import json_schema


def test_the_command_writes_the_schema(tmp_path: Path) -> None:
    out = io.StringIO()
    call_command("export_schema", stdout=out)
    assert json.loads(out.getvalue()) == json_schema()
    call_command("export_schema", output=tmp_path / "flow.json")
    assert json.loads((tmp_path / "flow.json").read_text()) == json_schema()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="missing"):
        call_command("export_schema", output=tmp_path / "missing" / "flow.json")
