"""`manage.py serve`: web, workers and the demo world under one foreground process. Standard library only."""
