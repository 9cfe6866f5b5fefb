"""Limits of a connection: how many attempts at a time, how many in a time, and a circuit breaker.

config, book and gate are pure; ledger is their rows; actions what people change; overview what they see.
"""
