"""steadyset: chaos and conformance suite for stateful workloads on Kubernetes."""

__version__ = "0.1.0"
