"""One neuron: the inputs that excite it, its classes, what it reads, its group, and what is lost without it."""
