"""Recordings, a file or a folder of them, through a codec and back."""
