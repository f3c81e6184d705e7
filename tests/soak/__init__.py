"""A service under random faults for minutes, judged by the oracle."""
