"""What people write: SMI kinds in every version, decoded into one neutral form each, and checked object by object."""
