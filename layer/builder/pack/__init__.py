"""How a tree goes into a layer: bytecode, the plan, and the archive of a nested layer."""
