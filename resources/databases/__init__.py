"""Databases that connections name: reached through the guard, one bounded and stoppable session at a time.

SQLAlchemy and the drivers are imported when a session opens, so that no process pays for them that does not use them.
"""
