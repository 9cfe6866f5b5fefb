"""The demo world: a small HTTP service that stands for the outside (`python -m orchestra.world`).

It counts what really happened for each idempotency key, so that a demo, a test or a benchmark can see
whether an effect happened once. It knows nothing of Django and never runs in production.
"""
