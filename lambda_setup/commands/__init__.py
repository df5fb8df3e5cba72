"""The operator's commands, a module each: its parser, the call, what it prints."""
