"""Destinations that wrap code outside the bridge: exporters, processors, functions, objects."""
