"""The words of the system: model, commands, events, subjects, errors. No I/O."""
