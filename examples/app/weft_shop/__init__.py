"""A shop small enough to read: storefront, catalog and inventory, and a client that counts what it is answered.

Rule: standard library only, and nothing in it knows the mesh. Run it as `python3 -m weft_shop ROLE …`.
"""
