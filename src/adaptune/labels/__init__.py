"""Labels: which of them to mistrust, and those that a model gives to rows without any."""
