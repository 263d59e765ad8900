"""otoscribe listens to a recording and writes down what is heard."""

__version__ = "0.1.0"
