"""The neuron and the network: their arguments, their parameters, and what a fit returns.

It imports ``training`` and what that may import.
"""
