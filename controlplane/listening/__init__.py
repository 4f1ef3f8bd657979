"""HTTP servers whose clients are bounded in bytes, time and number."""
