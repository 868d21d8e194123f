"""A neuron's passport: the inputs that excite it, its classes, where it looks, what it reads, and what is lost without
it. `shapes` loads nothing heavy."""
