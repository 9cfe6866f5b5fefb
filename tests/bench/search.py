"""Mark (p): a question among 100,000 resources of 2 KiB of text: one that few, many and all of them answer."""

from __future__ import annotations

import random
import time
from itertools import accumulate

from resources.access import Actor
from resources.ids import ulid
from resources.models import Artifact, Blob
from runs.search import hits, index
from runs.search.documents import Document, hash_of
from runs.search.finding import Asked
from tests.bench.tools import SYSTEM, quantile

COUNT = 100_000
QUESTIONS = 100
WORDS = 300  # of one text
LEXICON = 20_000
#: a fifth of all is below the folder that the viewer sees
FOLDERS = ("team", "payments", "payments/eu", "ops", "elsewhere")


def found(scale: float) -> dict[str, str]:
    """p50 and p95 of whole answers with 10 hits and their snippets, permission included; and what indexing took."""
    dice = random.Random(1)
    lexicon = ["".join(dice.choices("etaoinshrdlucmfwyp", k=dice.randint(3, 9))) for _ in range(LEXICON)]
    # as words are: few common ones, many rare ones
    weights = list(accumulate(1 / (n + 5) for n in range(LEXICON)))
    count = int(COUNT * scale)
    began = time.perf_counter()
    _fill(dice, lexicon, weights, count)
    shown = {"indexed": f"{count / (time.perf_counter() - began):.0f}/s"}
    viewer = Actor("trigger", "bench", scopes=("viewer:team",))
    for name, words in {"rare": lexicon[5_000:], "middle": lexicon[200:1_000], "common": lexicon[:20]}.items():
        for who, actor in (("admin", SYSTEM), ("viewer", viewer)):
            asked = [" ".join(dice.sample(words, 2 if name == "middle" else 1)) for _ in range(QUESTIONS)]
            took = [_ask(actor, question) for question in asked]
            shown[f"{name} {who}"] = f"p50 {quantile(took, 0.5)} p95 {quantile(took, 0.95)}"
    return shown


def _fill(dice: random.Random, lexicon: list[str], weights: list[float], count: int) -> None:
    now = time.time()
    blob, _ = Blob.objects.get_or_create(pk="0" * 64, defaults={"size": 0, "key": "bench", "created_at": now})
    for first in range(0, count, 500):
        ids = [ulid(now + (first + n) / 1000) for n in range(min(500, count - first))]
        folders = [FOLDERS[n % len(FOLDERS)] for n in range(len(ids))]
        texts = [" ".join(dice.choices(lexicon, cum_weights=weights, k=WORDS)) for _ in ids]
        # the index first: what the keeper sees is indexed already
        index.put([
            Document("resource", pk, f"notes-{first}.txt", text, now, folder=folder, mark=hash_of("{}"))
            for pk, folder, text in zip(ids, folders, texts, strict=True)
        ])  # fmt: skip
        Artifact.objects.bulk_create(
            [Artifact(pk=pk, blob=blob, size=0, name="notes.txt", folder=folder, keep="forever",
                      content_type="application/octet-stream") for pk, folder in zip(ids, folders, strict=True)]
        )  # fmt: skip


def _ask(actor: Actor, query: str) -> float:
    began = time.perf_counter()
    hits.search(actor, Asked(query))
    return time.perf_counter() - began
