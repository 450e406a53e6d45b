"""ingress-poller: asks source APIs and publishes each record verbatim."""
