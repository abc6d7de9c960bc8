"""The subcommands of the command line, a module each: `add` declares its options, `run` does it."""
