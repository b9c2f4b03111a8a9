"""Ceremonies: the core calls, the file of powers, and what each kind of cheating is refused as."""
