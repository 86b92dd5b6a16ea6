"""How a tenant looks: its own name, colours and logo while its plan has them, the platform's otherwise."""
