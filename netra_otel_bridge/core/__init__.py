"""The base of every room: errors, values, time, JSON, tasks, and blocking methods."""
