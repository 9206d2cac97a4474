"""Whether what a server is asked and answers still looks as it did in training, and what happens where it does not."""
