"""What only the holder of the lease does: it writes Events, ConfigMaps, certificates and caBundles."""
