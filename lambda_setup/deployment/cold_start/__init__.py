"""Cold starts on this machine: a function beside a plain script, timed from before the process is started."""
