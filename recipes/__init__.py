"""How models that ship with otoscribe are made."""
