"""Labels as a budget: what more of them bring, which to buy, which to mistrust, and those that a model gives."""
