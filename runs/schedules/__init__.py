"""Schedules: runs that start by the clock. policy decides, firing carries out, actions are what people change."""
