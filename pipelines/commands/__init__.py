"""One module a subcommand: `add_arguments(parser)` and `execute(args) -> int`."""
