"""Outbound events: from the history to a receiver that checks everything itself."""
