"""The live feed: what was committed to the history, told to every browser that may know.

One follower per process reads the event table; the hub passes notices to the sockets of this process.
"""

from runs.feed.follower import subscribe

__all__ = ["subscribe"]
