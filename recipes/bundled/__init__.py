"""The recipe of the model that ships with otoscribe; `python -m recipes.bundled` runs it, stage by stage."""
