"""Pages of bindings. What may be changed by whom is the actions' to say."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from flows import binding_actions as bindings
from flows.actions import visible_flow
from flows.models import Binding, Flow
from resources.access import Actor, can, folders_for
from resources.errors import NotFound, OrchestraError
from resources.forms import Inline, mono
from resources.models import Connection, Role


class BindingForm(Inline):
    """The sides that the actor may not change are shown, and stay as they are."""

    name = forms.CharField(max_length=63, widget=mono(), help_text="What flows call the connection.")
    flow = forms.CharField(
        required=False, max_length=63, widget=mono(), help_text="The slug of a flow, for it only. Empty: all flows."
    )
    live = forms.ChoiceField(
        label="In live runs", required=False, help_text="Empty: as in all flows, else the connection of that name."
    )
    test = forms.ChoiceField(
        label="In test runs", required=False, help_text="Empty: as in all flows, else the connection of that name."
    )

    def __init__(self, *args: Any, row: Binding | None = None, may: dict[str, bool] | None = None, **kw: Any) -> None:
        super().__init__(*args, **kw)
        kinds = dict(Connection.objects.order_by("name").values_list("name", "kind"))
        kept = [] if row is None else [n for n in (row.live, row.test) if n and n not in kinds]
        shown = [("", "—"), *((n, f"{n} ({kind})") for n, kind in kinds.items()), *((n, f"{n} (gone)") for n in kept)]
        for side in bindings.SIDES:
            choice = self.fields[side]
            assert isinstance(choice, forms.ChoiceField)  # noqa: S101  for mypy
            choice.choices = shown
            choice.widget.attrs["class"] = "input"
            choice.disabled = not (may or {}).get(side, True)
        if row is not None:
            del self.fields["name"], self.fields["flow"]


@login_required
@require_GET
def binding_list(request: HttpRequest) -> HttpResponse:
    actor = Actor.of(request)
    rows = bindings.visible(actor)[:500]
    may_add = can(actor, Role.ADMIN) or folders_for(actor, Role.AUTHOR) != []
    return render(request, "bindings/list.html", {"bindings": rows, "may_add": may_add, "section": "connections"})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def binding_edit(request: HttpRequest, name: str = "", flow: str = "") -> HttpResponse:
    """One binding; without a name a new one; of a flow's name that has none yet, a new one for it."""
    actor = Actor.of(request)
    owner = visible_flow(actor, flow) if flow else None
    row = _found(actor, name, owner)
    may = _may(actor, row, owner)
    form = BindingForm(request.POST or None, row=row, may=may, initial=_initial(row))
    if request.method == "POST" and form.is_valid() and _saved(request, actor, form, name, flow):
        return redirect("flow", flow) if flow else redirect("bindings")
    form.mark()
    context = {"form": form, "binding": row, "may_save": may is None or any(may.values()), "section": "connections"}
    return render(request, "bindings/edit.html", context, status=422 if form.errors else 200)


def _found(actor: Actor, name: str, owner: Flow | None) -> Binding | None:
    if not name:
        return None
    try:
        return bindings.get(actor, name, owner.slug if owner else "")
    except NotFound:
        if owner is None:
            raise
        return Binding(flow=owner, name=name)  # not saved: what the form of a new one starts from


def _may(actor: Actor, row: Binding | None, owner: Flow | None) -> dict[str, bool] | None:
    """None: a new one, whose flow is not known yet; the action says."""
    return bindings.may_set(actor, owner) if row is not None else None


def _initial(row: Binding | None) -> dict[str, str]:
    return {} if row is None else {"live": row.live, "test": row.test}


def _saved(request: HttpRequest, actor: Actor, form: BindingForm, name: str, flow: str) -> bool:
    data = form.cleaned_data
    try:
        row = bindings.set_binding(
            actor=actor, name=name or data["name"], flow=flow or data.get("flow", ""), test=data["test"],
            live=data["live"],
        )  # fmt: skip
    except OrchestraError as error:
        form.show(error)
        return False
    messages.success(request, f"{row.name} saved. Steps that are worked out from now on go by it.")
    return True


@login_required
@require_POST
def binding_delete(request: HttpRequest, name: str, flow: str = "") -> HttpResponse:
    bindings.delete_binding(actor=Actor.of(request), name=name, flow=flow)
    messages.success(request, f"The binding of {name} is deleted.")
    return redirect("flow", flow) if flow else redirect("bindings")
