"""Jobs: work that runners on other machines ask for, do and answer."""
