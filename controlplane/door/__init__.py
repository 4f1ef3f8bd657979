"""Who may ask the admin API what: from this machine, or by a token and the rights of its bearer."""
