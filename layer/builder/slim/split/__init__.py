"""Split shared libraries: code that a prediction touches lies in the file as it is, the rest is packed.

Nothing is taken out. A split library is linked to a fault handler, ``libhotcold.so``, which unpacks a block
of cold code when it is first called.
"""
