"""One neuron behind scikit-learn's interface, and several side by side."""
