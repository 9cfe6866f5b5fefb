"""Django's SQLite backend with writers taking turns; see base.py. Used as ENGINE "resources.sqlite3"."""
