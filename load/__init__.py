"""The Locust side: workloads draw ops, record them, and run as processes of their own where pods can be reached."""
