"""What readers of a run see where schemas say `x-sensitive`: shapes (of a plan), veil (what masks), rows, reveal."""
