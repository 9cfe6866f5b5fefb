"""Every change of a flow, its draft and its releases. One action, one transaction, one audit entry."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from flows import uses, versions
from flows.definition.lint import analyse
from flows.definition.plan import Plan
from flows.headline import MAX_BYTES, MAX_TITLE, SLUG, Headline, invalid, read_headline
from flows.known import known_names
from flows.models import Draft, DraftRevision, Flow, Release
from flows.signals import live_changed
from resources import audit
from resources.access import Actor, can, require
from resources.errors import BadInput, Conflict, NotFound, PreconditionFailed, TooLarge

MAX_NOTES = 10_000


def visible_flow(actor: Actor, slug: str) -> Flow:
    """The flow, for reading. Raises NotFound, also when the actor may not know of it."""
    # what cannot be a slug is not looked for: PostgreSQL refuses U+0000
    named = Flow.objects.select_related("live", "draft__updated_by").filter(slug=slug)
    flow = named.first() if SLUG.fullmatch(slug) else None
    if flow is None or not can(actor, "viewer", flow.folder):
        raise NotFound(f"There is no flow {slug!r}.")
    return flow


def create_flow(*, actor: Actor, source: str) -> Flow:
    """A new flow whose draft is `source`; its slug and folder are in the text.

    Raises BadInput (422, `details.problems`), Conflict `flow_exists` (409), NotAllowed (403), TooLarge (413).
    """
    headline = _headline(source)
    require(actor, "author", headline.folder)
    try:
        with transaction.atomic():
            flow = Flow.objects.create(
                slug=headline.slug, folder=headline.folder, title=headline.title, created_by=actor.user
            )
            Draft.objects.create(flow=flow, source=source, updated_by=actor.user)
            _keep_revision(flow, 1, source, actor)
            uses.keep(flow, uses.named_in(source), live=False)
            audit.record(
                actor=actor,
                action="flow.created",
                object_type="flow",
                object_id=flow.slug,
                data={"folder": flow.folder, "revision": 1},
            )
    except IntegrityError as error:
        raise Conflict(
            f"A flow {headline.slug!r} exists already.",
            code="flow_exists",
            hint="Choose another slug, or edit its draft.",
        ) from error
    return flow


def save_draft(*, actor: Actor, slug: str, source: str, revision: int) -> Draft:
    """Replace the draft that the editor started from, `revision`. Lint problems do not stop it.

    Raises NotFound, NotAllowed, BadInput (unreadable, or another slug), TooLarge, and PreconditionFailed
    `stale_draft` with `details` {revision, updated_by, updated_at, source} when somebody saved meanwhile.
    """
    visible_flow(actor, slug)
    headline = _headline(source)
    if headline.slug != slug:
        raise BadInput(
            f"The text names the flow {headline.slug!r}; this draft belongs to {slug!r}.",
            code="slug_changed",
            hint=f"A slug never changes. Write `flow: {slug}`, or create a new flow.",
        )
    with transaction.atomic():
        flow, draft = _locked(actor, slug)
        _check_revision(draft, revision)
        _move_unreleased(actor, flow, headline)
        if draft.source == source:
            return draft
        draft.source, draft.updated_by, draft.revision = source, actor.user, draft.revision + 1
        draft.save(update_fields=["source", "updated_by", "updated_at", "revision"])
        _keep_revision(flow, draft.revision, source, actor)
        uses.keep(flow, uses.named_in(source), live=False)
        audit.record(
            actor=actor, action="draft.saved", object_type="flow", object_id=slug, data={"revision": draft.revision}
        )
    return draft


def release_draft(
    *, actor: Actor, slug: str, version: str, notes: str = "", live: bool = False, revision: int | None = None
) -> Release:
    """An immutable release of the draft; `revision` (optional) must still be the draft's.

    Raises NotFound, NotAllowed, BadInput (`bad_version`, `version_not_newer`, `lint_errors` with
    `details.problems`), Conflict `version_exists`, PreconditionFailed `stale_draft`.
    """
    draft = visible_flow(actor, slug).draft
    if revision is not None:
        _check_revision(draft, revision)
    plan = _compiled(draft.source)  # before the transaction: it takes its time
    with transaction.atomic():
        flow, locked = _locked(actor, slug)
        _check_revision(locked, draft.revision)
        _check_version(flow, version)
        release = _insert_release(actor, flow, draft, plan, version, notes[:MAX_NOTES])
        audit.record(
            actor=actor,
            action="release.created",
            object_type="flow",
            object_id=slug,
            data={"version": version, "checksum": release.checksum, "revision": draft.revision},
        )
        if live:
            _point_live(actor, flow, release)
    return release


def make_live(*, actor: Actor, slug: str, version: str) -> Release:
    """New runs get this release from now on; runs that started keep theirs. Repeating it changes nothing.

    Raises NotFound (also for a version that was never released), NotAllowed.
    """
    visible_flow(actor, slug)
    with transaction.atomic():
        flow, _ = _locked(actor, slug)
        release = flow.releases.filter(version=version).first()
        if release is None:
            raise NotFound(f"The flow {slug!r} has no release {version!r}.")
        if flow.live_id != release.pk:
            _point_live(actor, flow, release)
    return release


def _headline(source: str) -> Headline:
    if len(source.encode(errors="surrogatepass")) > MAX_BYTES:
        raise TooLarge(f"A flow may have {MAX_BYTES // 1024} KiB.", hint="Split it into several flows.")
    return read_headline(source)


def _locked(actor: Actor, slug: str) -> tuple[Flow, Draft]:
    flow = Flow.objects.select_for_update().get(slug=slug)
    require(actor, "author", flow.folder)
    return flow, Draft.objects.select_for_update().get(flow=flow)


def _check_revision(draft: Draft, revision: int) -> None:
    if draft.revision == revision:
        return
    by = draft.updated_by.get_username() if draft.updated_by else "somebody"
    raise PreconditionFailed(
        f"{by} saved revision {draft.revision} after you opened revision {revision}.",
        code="stale_draft",
        hint="Compare the two texts, then save on top of the newer revision.",
        details={
            "revision": draft.revision,
            "updated_by": by,
            "updated_at": draft.updated_at.isoformat(),
            "source": draft.source,
        },
    )


def _move_unreleased(actor: Actor, flow: Flow, headline: Headline) -> None:
    """Until a first release is live the draft says folder and title; afterwards the live release does."""
    if flow.live_id is None:
        _place(actor, flow, headline.folder, headline.title)


def _place(actor: Actor, flow: Flow, folder: str, title: str) -> None:
    if (flow.folder, flow.title) == (folder, title):
        return
    if flow.folder != folder:
        require(actor, "author", folder)
        audit.record(
            actor=actor,
            action="flow.moved",
            object_type="flow",
            object_id=flow.slug,
            data={"from": flow.folder, "to": folder},
        )
    flow.folder, flow.title = folder, title
    flow.save(update_fields=["folder", "title", "updated_at"])


def _keep_revision(flow: Flow, revision: int, source: str, actor: Actor) -> None:
    DraftRevision.objects.create(flow=flow, revision=revision, source=source, saved_by=actor.user)


def _compiled(source: str) -> Plan:
    plan, problems = analyse(source, known=known_names())
    if plan is None:
        raise invalid("The draft has errors and cannot be released.", problems, code="lint_errors")
    return plan


def _check_version(flow: Flow, version: str) -> None:
    new = versions.parse(version)
    if new is None:
        raise BadInput(f"{version!r} is not a semantic version.", code="bad_version", hint="Write it like 1.4.0.")
    taken = list(flow.releases.values_list("version", flat=True))
    if version in taken:
        raise Conflict(f"Release {version} exists already and never changes.", code="version_exists")
    latest = versions.highest(taken)
    top = versions.parse(latest) if latest else None
    if top is not None and not new > top:
        raise BadInput(
            f"{version} is not newer than {latest}.",
            code="version_not_newer",
            hint=f"The next ones would be {', '.join(v for _, v in versions.suggestions(latest))}.",
        )


def _insert_release(actor: Actor, flow: Flow, draft: Draft, plan: Plan, version: str, notes: str) -> Release:
    return Release.objects.create(
        flow=flow,
        version=version,
        language=plan.language,
        source=draft.source,
        plan_json=plan.to_json(),
        checksum=plan.checksum,
        notes=notes,
        revision=draft.revision,
        released_by=actor.user,
    )


def _point_live(actor: Actor, flow: Flow, release: Release) -> None:
    before = flow.live.version if flow.live else None
    flow.live = release
    flow.save(update_fields=["live", "updated_at"])
    plan = release.plan
    _place(actor, flow, plan.folder, (plan.title or flow.slug)[:MAX_TITLE])
    uses.keep(flow, uses.named_by(plan), live=True)
    live_changed.send(sender=Flow, flow=flow, plan=plan, actor=actor)
    audit.record(
        actor=actor,
        action="flow.live_changed",
        object_type="flow",
        object_id=flow.slug,
        data={"from": before, "to": release.version},
    )
