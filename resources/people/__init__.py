"""People, groups, the roles they were given, and the sessions they signed in with."""
