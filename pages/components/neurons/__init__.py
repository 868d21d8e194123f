"""One space neuron by neuron."""
