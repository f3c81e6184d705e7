"""The values that rooms pass to each other, by subject: Netra's answers, queries, outcomes, progress, reports, health."""
