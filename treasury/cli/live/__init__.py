"""What `treasury demo live` is made of: a daemon of its own, a story, a screen.

Lives here: what the demonstration needs beside the product. May not live here: anything that a
user's own daemon does.
"""
