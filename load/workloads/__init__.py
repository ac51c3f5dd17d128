"""Workloads, one file each: a Locust user, its generator, `prepare(params)` and `read_back(params, writer)`."""
