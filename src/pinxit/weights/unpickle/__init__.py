"""What runs inside the sandbox that reads pickles: standard library only, and nothing in it can run a file's code."""
