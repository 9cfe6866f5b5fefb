"""The restricted role of PostgreSQL that workers may run under: what it may do, and giving it just that."""
