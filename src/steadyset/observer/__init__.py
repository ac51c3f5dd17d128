"""Watches the cluster's objects, and on the embedded cluster the nodes themselves, into a trace."""

from steadyset.observer.context import Observer

__all__ = ["Observer"]
