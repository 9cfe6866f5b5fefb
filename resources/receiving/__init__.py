"""Links by which somebody without an account brings one file."""
