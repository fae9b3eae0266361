"""The words of the system: model, settings, commands, events, subjects, errors.

Nothing here does I/O. Every message is a msgspec struct that ignores fields it does not know and has
defaults for fields that were added later, so that machines of neighbouring versions understand each other.
"""
