"""The wiring: settings, composition root, pipeline, status, admin API, command line."""
