"""Whole flows that a new flow can start from. The head of each text says what must be made first."""

from __future__ import annotations

from pathlib import Path

from flows.starters import Starter

HERE = Path(__file__).parent

EXAMPLES = (
    Starter(
        "release",
        "Release with a canary",
        "Deploys to a tenth, watches, asks, deploys to all. Whatever goes wrong brings the old version back.",
        HERE,
    ),
    Starter(
        "purge",
        "Delete old data",
        "Shows every row as a file, and deletes exactly these when a person says so, or none.",
        HERE,
    ),
    Starter(
        "incident",
        "Work on an incident",
        "Takes signed alerts, has a model sum them up, asks the people on call, and has a runner do what they choose.",
        HERE,
    ),
    Starter(
        "reconcile",
        "Compare two databases each night",
        "Reads both side by side, compares them in a function, and tells people where they differ.",
        HERE,
    ),
    Starter(
        "agent",
        "Let an agent work on a machine",
        "Starts a job over SSH that outlives the connection, waits for its call, and asks what to do with the result.",
        HERE,
    ),
)
