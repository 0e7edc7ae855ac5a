"""One program for each kind of contender; it runs in processes of its own."""
