"""The stage loop: poll, process, deliver, commit, for every stage alike; ingress publishing; errors; dead letters."""
