"""Published weights in the formats in which they exist."""
