"""How Envoy hears it: translation, encoded resources, the ADS/SDS server."""
