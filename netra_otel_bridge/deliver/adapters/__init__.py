"""Destinations made of other people's code: exporters, processors, functions."""
