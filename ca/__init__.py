"""Who everyone is: issuers, leaves, rotation, trust bundle, and the tokens of standalone mode."""
