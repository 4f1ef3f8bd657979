"""How sidecars get in and mistakes stay out: inject, validate, convert."""
