"""What is taken out of the installed packages: patches, rules, traces, symbols."""
