"""Which deployment pattern to run, and what each would cost: pure, and no part of a turn."""
