"""One module a command of the command line: `add` declares its options, `run` does it."""
