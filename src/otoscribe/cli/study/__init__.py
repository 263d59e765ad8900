"""The commands of `otoscribe study`."""
