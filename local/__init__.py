"""A cluster of one machine: pods as network namespaces, running what the injector made of plain manifests."""
