"""Functions that exporters spell out in several nodes, found again by their structure."""
