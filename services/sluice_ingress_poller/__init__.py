"""ingress-poller: polls source APIs and publishes each record verbatim."""
