"""Parts that take the place of what cannot be reached, and say so."""
