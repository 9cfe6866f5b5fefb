"""What lint says: one `Problem` a finding, and the published table of every rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]

#: Every rule id that lint may use, with what it means in one line.
RULES: Mapping[str, str] = {
    "yaml-syntax": "The text is not YAML.",
    "yaml-size": "The text is larger than a flow may be.",
    "yaml-depth": "Lists and mappings are nested too deep.",
    "yaml-nodes": "The text has too many values.",
    "yaml-alias": "Aliases (*name) are refused: a few of them can stand for gigabytes.",
    "yaml-merge-key": "Merge keys (<<) are not part of YAML 1.2.",
    "yaml-tag": "Tags (!name) are refused: a flow holds plain data only.",
    "yaml-duplicate-key": "A mapping has the same key twice.",
    "yaml-key": "A key of a mapping is not a plain text.",
    "yaml-number": "A number has no exact JSON form (infinite, not a number, or beyond 64 bits).",
    "yaml-document": "The file is empty, has several documents, or is not a mapping.",
    "unknown-key": "The language has no such key here.",
    "not-available": "Part of the language, but not available in this version yet.",
    "missing-key": "A key that must be there is missing.",
    "bad-value": "The value has the wrong type or is outside what is allowed.",
    "bad-id": "An id or slug has characters that are not allowed.",
    "duplicate-id": "Two steps or two triggers have the same name.",
    "step-family": "A step must have exactly one family key: it says what the step does.",
    "unknown-step": "A step is named that does not exist.",
    "cycle": "Steps wait for one another in a circle.",
    "unreachable-step": "The step can never run.",
    "not-upstream": "An expression reads a step that need not have ended before.",
    "may-not-have-run": "An expression reads a step that may have been skipped.",
    "expression-syntax": "An expression cannot be read.",
    "expression-type": "An expression mixes types that do not go together.",
    "expression-required": "This key takes an expression, `${{ … }}`.",
    "expression-limit": "An expression is too long or nested too deep.",
    "template-not-allowed": "An expression stands where only a plain text is allowed.",
    "unknown-name": "An expression reads a name that does not exist there.",
    "unknown-input": "An expression reads an input that the flow's input schema does not have.",
    "unknown-variable": "An expression reads a variable that the flow does not declare under `vars`.",
    "unset-variable": "A variable has no default, and no value is set for it.",
    "invalid-schema": "A JSON Schema is not valid.",
    "invalid-regex": "A regular expression cannot be read.",
    "secret-in-text": "A secret seems to be written in the text.",
    "missing-timeout": "A step that talks to the outside has no timeout of its own.",
    "missing-retry-cap": "Retries have no bound in time.",
    "irreversible-unprotected": "An irreversible step can be reached without an approval that protects it.",
    "protects-not-downstream": "An approval protects a step that does not come after it.",
    "protected-not-computable": "What a protected step will do cannot be known when the request opens.",
    "fallback-unprotected": "A protected or irreversible step has a fallback nobody approves.",
    "unknown-function": "The flow declares no function of that name.",
    "unused-function": "No step uses a function of the flow.",
    "code-syntax": "The code of a function is not Python.",
    "tool-with-effect": "A tool of a language model would change something.",
    "missing-budget": "Nothing bounds what the language models of a run may cost.",
    "unknown-flow": "A child flow has no live release.",
    "compensate-waits": "What undoes a step would wait for a person, a signal or a time.",
    "handler-step": "A step that only a missed time calls has keys that would do nothing, or is needed by others.",
    "time-order": "A longer time ends before a shorter one.",
    "ssh-long": "A worker would stay with a remote command for long.",
    "output-unbounded": "What a step keeps has no bound of its own.",
    "until-step": "The step cannot poll, or its condition can never change.",
    "until-unbounded": "Polling has no bound but the longest there is.",
    "fallback-waits": "A fallback that would wait for somebody or something.",
    "fallback-class": "A fallback names an error class that nothing may stand in for.",
    "join-count": "A join asks for more than the step needs, or for what it cannot have.",
    "join-protected": "A protected step does not wait for everything before it.",
    "route-target": "A route names a step that does not come after it.",
    "route-unreachable": "A rule of a route can never be taken.",
    "key-without-use": "A key that this kind of step has no use for.",
    "effect-contradiction": "What a step declares of its effect contradicts itself.",
    "already-done-acts": "The question whether something happened would act itself.",
    "unknown-connection": "The connection does not exist.",
    "wrong-connection-kind": "The connection is of a kind that the step cannot use.",
    "unknown-secret": "The secret does not exist.",
    "unknown-group": "The group does not exist.",
    "unknown-user": "The user does not exist.",
    "unverified-webhook": "Anybody who knows the address can start runs.",
    "weak-signature": "A signature uses a hash that is no longer safe.",
    "open-network": "A list of addresses lets everybody in.",
    "credential-in-header": "A header holds a credential in the text of the flow.",
    "unbounded-output": "Nothing says how much output there is at most.",
    "bad-cron": "A cron expression cannot be read, or is never due.",
    "unknown-timezone": "The time zone does not exist.",
    "schedule-input": "What a schedule gives is not the input this flow takes.",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. Lines and columns count from 1; `hint` says how to mend it.

    Raises ValueError for a rule that RULES does not publish.
    """

    rule: str
    severity: Severity
    line: int
    column: int
    message: str
    hint: str = ""
    end_line: int | None = None
    end_column: int | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"{self.rule!r} is not a published rule")

    @property
    def is_error(self) -> bool:
        return self.severity == "error"

    def to_json(self) -> dict[str, str | int]:
        """The published shape: {rule, severity, line, column, message, hint}."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "hint": self.hint,
        }


def in_order(problems: list[Problem]) -> list[Problem]:
    """By place, then rule; findings that say the same of the same place once."""
    unique = {(p.line, p.column, p.rule, p.message): p for p in problems}
    return [unique[k] for k in sorted(unique)]
