"""Training of the networks that ship with the package; never imported at run time.

Run ``python -m training --help``.
"""
