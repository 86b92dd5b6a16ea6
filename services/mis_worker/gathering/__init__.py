"""Where the features' background work is gathered, a module for each service and one for the platform."""
