"""The base of all other packages: errors, values, time, JSON, tasks, and blocking methods."""
