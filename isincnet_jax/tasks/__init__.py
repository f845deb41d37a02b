"""Training tasks: from a config to a finished, exported run; what ``experiments/*.py`` call."""
