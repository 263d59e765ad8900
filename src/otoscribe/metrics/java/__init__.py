"""METEOR and SPICE, by their authors' Java programs in processes of their own."""
