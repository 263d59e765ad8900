"""A study planned and run: settings → grid → runs in worker processes → captions → scores."""
