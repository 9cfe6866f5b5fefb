"""Mark (m): MB/s of masking in one thread, in pieces of 64 KiB: text, JSON and bytes that are no text."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator

from resources.masking import Masker

PIECE = 64 * 1024
SIZE = 8 * 1024 * 1024
ROUNDS = 3
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/="


def figures(scale: float = 1.0) -> Iterator[tuple[str, dict[str, str]]]:
    """("10 secrets", {"text": "120 MB/s", …}); every hundredth piece holds a value."""
    for count in (1, 10, 50):
        values = ["".join(random.Random(f"{count}-{n}").choices(ALPHABET, k=40)) for n in range(count)]
        shown = {kind: f"{_rate(values, data):.0f} MB/s" for kind, data in _inputs(int(SIZE * scale)).items()}
        shown["built"] = f"{_built(values) * 1000:.1f} ms"
        yield f"{count} secrets", shown


def _inputs(size: int) -> dict[str, bytes]:
    dice = random.Random(1)
    words = ["".join(dice.choices("etaoinshrdlucmfwyp", k=dice.randint(2, 9))) for _ in range(2000)]
    text = " ".join(dice.choices(words, k=size // 6)).encode()
    row = {
        "id": 12345678,
        "at": "2026-01-31T08:00:00Z",
        "name": "some name",
        "ok": True,
        "sum": 12.5,
        "tags": words[:4],
    }
    return {
        "text": text[:size],
        "JSON": (json.dumps(row).encode() + b"\n") * (size // 150),
        "bytes": dice.randbytes(size),
    }


def _rate(values: list[str], data: bytes) -> float:
    pieces = [data[i : i + PIECE] for i in range(0, len(data), PIECE)]
    pieces[::100] = [values[0].encode() + piece[len(values[0]) :] for piece in pieces[::100]]
    took = []
    for _ in range(ROUNDS):
        stream = Masker(values).stream()
        began = time.perf_counter()
        for piece in pieces:
            stream.feed(piece)
        stream.close()
        took.append(time.perf_counter() - began)
    return sum(map(len, pieces)) / 1e6 / min(took)


def _built(values: list[str]) -> float:
    began = time.perf_counter()
    Masker(values).text("x")
    return time.perf_counter() - began
