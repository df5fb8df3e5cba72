"""Pack a tree into a layer: bytecode, the plan, the archive of a nested layer, and the layer's folder."""
