"""HTTP as this machine's environment wants it, for the workers' models and the front's logins alike."""
