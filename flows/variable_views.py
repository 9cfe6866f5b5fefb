"""Pages of variables. What may be changed by whom is the actions' to say."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from flows import variables
from flows.models import Variable
from resources.access import Actor, can, folders_for
from resources.errors import OrchestraError
from resources.forms import Inline, mono
from resources.kindform import JsonField
from resources.models import Role
from resources.views import named


def _area(rows: str) -> forms.Textarea:
    return forms.Textarea(attrs={"class": "input input--mono", "rows": rows, "spellcheck": "false"})


class VariableForm(Inline):
    """Values and schema are JSON; what is left empty is not set."""

    name = forms.CharField(max_length=63, widget=mono(), help_text="Flows read it as vars.<name>.")
    flow = forms.CharField(
        required=False,
        max_length=63,
        widget=mono(),
        help_text="The slug of a flow, for this flow only. Empty: all flows.",
    )
    description = forms.CharField(required=False, max_length=300, widget=forms.TextInput(attrs={"class": "input"}))
    schema = JsonField(
        label="Type", required=False, max_length=20_000, widget=_area("3"), initial='{"type": "string"}',
        help_text="A JSON Schema that both values fit.",
    )  # fmt: skip
    live = JsonField(
        label="Live value", required=False, max_length=variables.MAX_BYTES, widget=_area("2"),
        help_text='As JSON: "eu-north", 5, true, ["a", "b"].',
    )  # fmt: skip
    draft = JsonField(
        label="Draft value", required=False, max_length=variables.MAX_BYTES, widget=_area("2"),
        help_text="For runs started as tests. Empty: they take the live value.",
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("schema") is not None and not isinstance(data["schema"], dict):
            self.add_error("schema", "A schema is an object.")
        return data

    def values(self) -> dict[str, Any]:
        return {k: self.cleaned_data[k] for k in variables.KINDS if str(self.data.get(k, "")).strip()}


@login_required
@require_GET
def variable_list(request: HttpRequest) -> HttpResponse:
    actor = Actor.of(request)
    rows = [_row(row) for row in variables.visible(actor)[:500]]
    context = {"variables": rows, "may_add": _may_some(actor), "section": "connections"}
    return render(request, "variables/list.html", context)


def _may_some(actor: Actor) -> bool:
    return can(actor, Role.ADMIN) or folders_for(actor, Role.AUTHOR) != [] or folders_for(actor, Role.OPERATOR) != []


def _row(row: Variable) -> dict[str, Any]:
    values = variables.shown(row)
    texts: dict[str, Any] = {str(k): json.dumps(v, ensure_ascii=False) for k, v in values.items()}
    return {"row": row, **texts}


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def variable_edit(request: HttpRequest, name: str = "", flow: str = "") -> HttpResponse:
    """One variable, or a new one without a name."""
    actor = Actor.of(request)
    row = variables.get(actor, name, flow) if name else None
    form = VariableForm(request.POST or None, initial=_initial(row) if row else named(request))
    if row is not None:
        del form.fields["name"], form.fields["flow"]
    if request.method == "POST" and form.is_valid() and _saved(request, actor, form, name, flow):
        return redirect("variables")
    form.mark()
    context = {"form": form, "variable": row, "section": "connections"}
    return render(request, "variables/edit.html", context, status=422 if form.errors else 200)


def _initial(row: Variable) -> dict[str, Any]:
    def shown(value: Any) -> str:
        return json.dumps(value, indent=1, ensure_ascii=False)

    masked = variables.shown(row)
    values = {str(k): shown(v) for k, v in masked.items()}
    return {"description": row.description, "schema": shown(row.schema), "live": "", "draft": "", **values}


def _saved(request: HttpRequest, actor: Actor, form: VariableForm, name: str, flow: str) -> bool:
    data = form.cleaned_data
    try:
        row, warnings = variables.set_variable(
            actor=actor, name=name or data["name"], flow=flow or data.get("flow", ""), schema=data["schema"] or {},
            values=form.values(), description=data["description"],
        )  # fmt: skip
    except OrchestraError as error:
        form.show(error)
        return False
    messages.success(request, f"{row.name} saved. Runs that start from now on read it.")
    for warning in warnings:
        messages.error(request, warning)
    return True


@login_required
@require_POST
def variable_delete(request: HttpRequest, name: str, flow: str = "") -> HttpResponse:
    variables.delete_variable(actor=Actor.of(request), name=name, flow=flow)
    messages.success(request, f"{name} deleted. Runs that started keep its value.")
    return redirect("variables")
