"""Named events from outside: taken once by id, kept a while, answering waits and starting flows."""
