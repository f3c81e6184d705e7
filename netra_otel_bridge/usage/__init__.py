"""Usage: tokens, requests and cost of tenants and sessions."""
