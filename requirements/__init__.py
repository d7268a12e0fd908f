"""The lock files, what makes them and what audits them; no part of the product imports this."""
