"""Statistics over rows of the record: intervals, findings and their sentences, comparisons, changes."""
