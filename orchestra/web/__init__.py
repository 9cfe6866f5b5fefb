"""The web process: daphne, with bodies and answers that stay as small in memory as their clients are slow."""
