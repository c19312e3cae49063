"""How a model bears films that are worse than those it was judged on."""
