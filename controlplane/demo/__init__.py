"""`weft demo`: the example shop on this machine, and claims about the mesh that are proved with real requests."""
