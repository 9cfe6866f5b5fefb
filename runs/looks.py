"""Which of the twelve looks of the design a run or a step has. Pure: statuses in, (state, label) out."""

from __future__ import annotations

Look = tuple[str, str]

_RUN: dict[str, Look] = {
    "queued": ("queued", "Queued"),
    "running": ("running", "Running"),
    "waiting": ("waiting", "Waiting"),
    "pausing": ("paused", "Pausing"),
    "paused": ("paused", "Paused"),
    "cancelling": ("cancelled", "Cancelling"),
    "compensating": ("compensating", "Compensating"),
    "succeeded": ("succeeded", "Succeeded"),
    "failed": ("failed", "Failed"),
    "cancelled": ("cancelled", "Cancelled"),
    "timed_out": ("failed", "Timed out"),
}
_STEP: dict[str, Look] = {
    "": ("queued", "Not reached"),
    "pending": ("queued", "Put back"),
    "ready": ("queued", "Ready"),
    "running": ("running", "Running"),
    "fanned": ("running", "Running its items"),
    "backoff": ("waiting", "Waiting to retry"),
    "waiting": ("waiting", "Waiting"),
    "handling": ("running", "Running what sees to it"),
    "unknown": ("dead", "Outcome unknown"),
    "succeeded": ("succeeded", "Succeeded"),
    "failed": ("failed", "Failed"),
    "skipped": ("skipped", "Skipped"),
    "cancelled": ("cancelled", "Cancelled"),
}
HUMAN: Look = ("human", "Waiting on human")


def of_run(status: str, on_human: bool = False) -> Look:
    """`on_human`: an approval of this run is open."""
    return HUMAN if on_human and status in ("waiting", "running") else _RUN[status]


def of_step(status: str, family: str = "", run_ended: bool = False, run_stopped: bool = False) -> Look:
    """`status` "" is a step without a row; in a run that ended it will never be reached.

    `run_stopped`: the run has not failed but is, or was, cancelled: its approval that did not succeed got a no.
    """
    if run_stopped and status == "failed" and family == "approval":
        return ("cancelled", "Rejected")
    if status == "waiting" and family == "approval":
        return HUMAN
    if status == "" and run_ended:
        return ("skipped", "Not reached")
    return _STEP[status]
