"""The demo: all servers, all stages and an example's live source in one command, watched until it is told to stop."""
