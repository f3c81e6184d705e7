"""What every room uses: errors, time, JSON, tasks."""
