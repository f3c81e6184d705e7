"""Copy traces from Netra to a destination: list, fetch, convert, deliver, record."""
