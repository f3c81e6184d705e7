"""Destinations that wrap code of others: exporters, processors, functions, objects."""
