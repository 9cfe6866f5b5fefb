"""Chaos: the whole program on two hosts under load while its parts are killed, stopped, cut off and lied to."""
