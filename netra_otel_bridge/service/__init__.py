"""RUN: the service that follows live traffic, and what it shows of itself."""
