"""Labels as a budget: what more of them would bring, and which rows to label next."""
