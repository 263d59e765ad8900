"""Files that somebody published: fetched, verified, kept."""
