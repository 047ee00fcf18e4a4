"""Ray at work: resources, clusters, the tuner and its callbacks."""
