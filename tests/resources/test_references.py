"""Whatever is done in whatever order: what something open names is there, whole; what nothing names goes."""

from __future__ import annotations

import contextlib
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from approvals.models import ApprovalRequest
from resources import artifacts, blobs, keeping, links, parts
from resources.access import Actor
from resources.errors import Conflict, NotFound, OrchestraError
from resources.filestore import store
from resources.keeping import COOLING, SWEEP, Duty
from resources.models import Artifact, Blob, ResourceUse, UploadPart
from runs import holding
from runs.large import storable
from runs.models import Run, RunEvent, StepRun
from tests.pages import seed

pytestmark = [pytest.mark.db_matrix]
OPS = Actor.system("test")
START = 1_800_000_000.0
BYTES = (b"one", b"two", b"")


@pytest.fixture(autouse=True)
def files(tmp_path: Path, settings: Any) -> None:
    settings.MEDIA_ROOT = tmp_path / "files"
    settings.MAX_INLINE_OUTPUT_BYTES = 200


class References(RuleBasedStateMachine):
    """`needed`: resource -> who holds it; a run's number, "approval", or both. A release is not deleted by anybody."""

    made = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.duty = Duty()
        self.bytes: dict[str, bytes] = {}
        self.needed: dict[str, set[Any]] = {}
        self.open: set[int] = {0, 1}
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        flow = seed.flow("needs-files")
        story = seed.Story(flow).to_approval()
        self.request = seed.ask(story, irreversible=False, quorum=1, group=False)
        Run.objects.filter(pk=story.run.pk).update(status="succeeded", ended_at=START)  # the approval holds alone
        self.runs = [seed.Story(flow).run.pk for _ in self.open]
        Run.objects.filter(pk__in=self.runs).update(status="running", ended_at=None)

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    # -- what people and runs do -------------------------------------------------------------------------------

    @initialize(target=made)
    def first(self) -> Any:
        return multiple(*(self.store(content, 1.0, None) for content in BYTES[:2]))

    @rule(
        target=made,
        content=st.sampled_from(BYTES),
        life=st.sampled_from([-1.0, 5000.0]),
        run=st.sampled_from([None, 0, 1]),
    )
    def store(self, content: bytes, life: float, run: int | None) -> str:
        facts: dict[str, Any] = {"keep": "until", "keep_until": self.now + life}
        origin: dict[str, Any] = {} if run is None else {"run_id": self.runs[run], "step": "s"}
        row = artifacts.write([content], content_type="text/plain", **facts, **origin)
        self.bytes[row.pk] = content
        self.needed[row.pk] = {run} & self.open
        return row.pk

    @rule(target=made, content=st.sampled_from(BYTES[:2]))
    def upload(self, content: bytes) -> str:
        begun = parts.begin_upload(actor=OPS, name="x", content_type="text/plain", folder="", size=len(content),
                                   labels={}, now=self.now)  # fmt: skip
        parts.add_part(actor=OPS, upload_id=begun.pk, offset=0, chunks=[content], now=self.now)
        digest = hashlib.sha256(content).hexdigest()
        row = parts.complete_upload(actor=OPS, upload_id=begun.pk, sha256=digest, now=self.now)
        self.bytes[row.pk], self.needed[row.pk] = content, set()
        return row.pk

    @rule(content=st.sampled_from(BYTES[:2]))
    def begin_and_leave(self, content: bytes) -> None:
        with contextlib.suppress(OrchestraError):
            begun = parts.begin_upload(actor=OPS, name="x", content_type="text/plain", folder="", size=99, labels={},
                                       now=self.now)  # fmt: skip
            parts.add_part(actor=OPS, upload_id=begun.pk, offset=0, chunks=[content], now=self.now)

    @rule(pk=made, run=st.sampled_from([0, 1]), place=st.sampled_from(["input", "step", "history", "use", "large"]))
    def name(self, pk: str, run: int, place: str) -> None:
        if run not in self.open or not self.is_there(pk):
            return
        address, own = f"res://{pk}", Run.objects.get(pk=self.runs[run])
        if place == "input":
            Run.objects.filter(pk=own.pk).update(input={**own.input, f"f{len(own.input)}": address})
        elif place == "step":
            name = f"x{StepRun.objects.count()}"
            StepRun.objects.create(run=own, step=name, status="succeeded", version=1, output=[address])
        elif place == "history":
            seq = 5000 + RunEvent.objects.count()
            RunEvent.objects.create(run=own, seq=seq, type="note", at=1.0, data={"see": f"({address})"})
        elif place == "use":
            holding.use(pk, own.pk)
        else:
            kept, _ = storable({"pad": "x" * 300, "deep": [address]}, own.pk, "s", "")
            assert address not in str(kept)
            StepRun.objects.create(
                run=own, step=f"y{StepRun.objects.count()}", status="succeeded", version=1, output=kept
            )
        self.needed[pk].add(run)

    @rule(pk=made)
    def show_to_reviewers(self, pk: str) -> None:
        if self.is_there(pk) and ApprovalRequest.objects.get(pk=self.request.pk).status == "open":
            row = ApprovalRequest.objects.get(pk=self.request.pk)
            ApprovalRequest.objects.filter(pk=row.pk).update(actions=[*row.actions, {"config": f"res://{pk}"}])
            self.needed[pk].add("approval")

    @rule(run=st.sampled_from([0, 1]), dead=st.booleans())
    def end(self, run: int, dead: bool) -> None:
        """A dead letter stays open."""
        Run.objects.filter(pk=self.runs[run]).update(
            status="failed", ended_at=self.now, dead_at=self.now if dead else None
        )
        if not dead:
            self.open.discard(run)
            for holders in self.needed.values():
                holders.discard(run)

    @rule()
    def reject(self) -> None:
        ApprovalRequest.objects.filter(pk=self.request.pk).update(status="rejected")
        for holders in self.needed.values():
            holders.discard("approval")

    @rule(pk=consumes(made))
    def delete(self, pk: str) -> None:
        try:
            keeping.delete_resource(actor=OPS, artifact_id=pk, now=self.now)
            assert not self.needed[pk]
        except (NotFound, Conflict):
            pass

    @rule(pk=made, pinned=st.booleans())
    def pin(self, pk: str, pinned: bool) -> None:
        with contextlib.suppress(NotFound):
            keeping.update_resource(actor=OPS, artifact_id=pk, pinned=pinned)

    @rule(pk=made)
    def link_and_revoke(self, pk: str) -> None:
        with contextlib.suppress(NotFound):
            links.issue_link(actor=OPS, artifact_id=pk, now=self.now)
            links.revoke_links(actor=OPS, artifact_id=pk)

    # -- what the clock does -----------------------------------------------------------------------------------

    @rule(passed=st.sampled_from([0.0, 60.0, COOLING + 1, SWEEP + COOLING, 2 * 86400.0]))
    def turn(self, passed: float) -> None:
        self.now += passed
        self.duty.turn(self.now)

    @rule()
    def an_hour(self) -> None:
        """Condemned, and an hour later looked at again."""
        self.duty.turn(self.now)
        self.turn(COOLING + 1)

    @rule(content=st.sampled_from(BYTES))
    def drop(self, content: bytes) -> None:
        blobs.drop_unused(hashlib.sha256(content).hexdigest())

    def is_there(self, pk: str) -> bool:
        with contextlib.suppress(NotFound):
            return bool(artifacts.get(pk))
        return False

    @invariant()
    def what_is_needed_is_there_whole(self) -> None:
        for pk, holders in self.needed.items():
            if holders:
                assert artifacts.read(artifacts.get(pk)) == self.bytes[pk], (pk, holders)

    @invariant()
    def every_row_has_its_bytes_and_every_part_too(self) -> None:
        for blob in Blob.objects.all():
            assert store().length(blob.key) == blob.size
        named = {*Artifact.objects.values_list("blob", flat=True), *UploadPart.objects.values_list("blob", flat=True)}
        assert named <= set(Blob.objects.values_list("pk", flat=True))


@pytest.mark.django_db
def test_nothing_that_something_open_names_is_ever_deleted_whatever_happens() -> None:
    run_state_machine_as_test(
        References,
        settings=settings(
            max_examples=20, stateful_step_count=30, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_retention_deletion_and_revocation_beside_runs_that_begin_take_nothing_of_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two keepers and two people delete all they can, while runs come to name resources of equal bytes."""
    # the keepers' clock is years ahead of the files': what is being written is no orphan of yesterday
    monkeypatch.setattr(blobs, "GRACE", 1e12)
    flow = seed.flow("needs-files")
    runs = [seed.Story(flow).run.pk for _ in range(2)]
    Run.objects.filter(pk__in=runs).update(status="running", ended_at=None)
    needed: list[str] = []

    def begin(run: str) -> None:
        with contextlib.closing(connection):
            for turn in range(12):
                over: dict[str, Any] = {"keep": "until", "keep_until": START - 1}
                with transaction.atomic():
                    named = artifacts.write([b"shared-%d" % (turn % 3)], content_type="text/plain", **over)
                    holding.use(named.pk, run)
                spare = artifacts.write([b"shared-%d" % (turn % 3)], content_type="text/plain", **over)
                needed.append(named.pk)
                with contextlib.suppress(NotFound):
                    links.revoke_links(actor=OPS, artifact_id=spare.pk)
                with contextlib.suppress(NotFound, Conflict):
                    keeping.delete_resource(actor=OPS, artifact_id=named.pk, now=START)

    def keep(start: float) -> None:
        with contextlib.closing(connection):
            duty = Duty()
            for turn in range(12):
                duty.turn(start + turn * (COOLING + SWEEP))

    with ThreadPoolExecutor(4) as pool:
        for done in [*(pool.submit(begin, run) for run in runs), *(pool.submit(keep, START + n) for n in range(2))]:
            done.result()
    assert len(needed) == 24
    for pk in needed:
        row = artifacts.get(pk)
        assert artifacts.read(row).startswith(b"shared-") and row.condemned_at is None
    last = START + 20 * (COOLING + SWEEP)
    Duty().turn(last)
    Duty().turn(last + COOLING + 1)
    assert Artifact.objects.count() == 24 == ResourceUse.objects.count()
    assert Blob.objects.count() == 3
