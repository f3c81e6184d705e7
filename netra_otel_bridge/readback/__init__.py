"""Read destinations back, and account for every span that was delivered (docs/adr/0031)."""
