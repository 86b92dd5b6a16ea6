"""`mis run`: the whole suite in the foreground of one process, with what it was not given provided."""
