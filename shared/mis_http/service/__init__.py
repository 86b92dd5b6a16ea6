"""What makes a service of routers: its settings, its composition, its probes and its description."""
