"""Values that packages pass to each other, by subject: Netra's data, queries, outcomes, progress, reports, health."""
