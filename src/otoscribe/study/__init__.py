"""Many settings, each trained with several seeds, and what their scores say."""
