"""The layer builder: a recipe and a target in, a Lambda layer out.

The stages stand in folders: wheels, slim, verify, pack, report and publish; ``steps`` puts them in order.
"""
