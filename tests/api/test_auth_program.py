"""`orchestra auth` against the web process: what it sends is what the API takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User

from orchestra.cli import auth
from resources.access import Actor
from resources.grants import grant_role
from resources.models import ApiToken, Grant
from resources.tokens import create_token

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def program(live_server: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    root = User.objects.create_user("root")
    grant_role(actor=Actor.system("test"), role="admin", user=root)
    file = tmp_path / "token"
    file.write_text(create_token(actor=Actor.of_user(root), user=root, name="test")[1] + "\n")

    def run(*words: str) -> tuple[int, Any]:
        code = auth.main(["--url", live_server.url, "--token-file", str(file), *words])
        told = capsys.readouterr()
        return code, (json.loads(told.out) if told.out else told.err)

    return run


def test_people_roles_and_tokens_are_kept_from_a_terminal(program: Any) -> None:
    assert program("status")[1]["everything"] is True
    assert "/invitations/" in program("invite", "nina", "--email", "nina@example.org")[1]["link"]
    program("group-create", "on call")
    assert program("group-add", "on call", "nina") == (0, "")
    program("grant", "reviewer", "--group", "on call", "--folder", "pay", "--reason", "they know it")
    code, why = program("explain", "decide", "--user", "nina", "--folder", "pay/eu")
    assert code == 0 and why["allowed"] and "through the group on call" in why["message"]
    assert [line["user"] for line in program("access", "--folder", "pay")[1]["items"]] == ["nina", "root"]
    grant = Grant.objects.get(group__isnull=False)
    assert (
        program("revoke", str(grant.pk), "--reason", "over") == (0, "")
        and program("groups")[1]["items"][0]["roles"] == []
    )
    made = program("token-create", "ci", "--scope", "operator:pay", "--days", "3")[1]
    assert made["scopes"] == ["operator:pay"] and len(program("tokens")[1]["items"]) == 2
    program("token-revoke", str(made["id"]))
    assert ApiToken.objects.get(pk=made["id"]).revoked_at is not None
    for verb in ("deactivate", "reactivate", "sign-out-person", "reset", "person"):
        assert program(verb, "nina")[0] == 0
    program("change", "nina", "--full-name", "Nina Ny")
    assert program("people", "--search", "ny")[1]["items"][0]["full_name"] == "Nina Ny"
    assert len(program("grants")[1]["items"]) == 1 and program("group-remove", "on call", "nina")[0] == 0
    assert program("group-delete", "on call") == (0, "") and program("sign-out")[0] == 0


def test_a_refusal_is_told_and_is_no_success(program: Any) -> None:
    code, said = program("deactivate", "root")
    assert code == 1 and "cannot switch yourself off" in said
    code, said = program("grant", "emperor", "--user", "root")
    assert code == 1 and "invalid_request" in said


def test_without_an_address_or_a_token_it_says_what_to_give(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("ORCHESTRA_URL", "ORCHESTRA_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert auth.main(["status"]) == 2 and "ORCHESTRA_TOKEN" in capsys.readouterr().err
    assert auth.main(["--url", "http://127.0.0.1:9", "--token-file", str(tmp_path / "none"), "status"]) == 2


def test_it_needs_nothing_but_python() -> None:
    look = (
        "import sys, orchestra.cli.auth; print([m for m in sys.modules if m.split('.')[0] in ('django', 'pydantic')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=settings.BASE_DIR, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"
