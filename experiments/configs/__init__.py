"""Configs: Python files with a function ``get_config``; all start from :mod:`.default`."""
