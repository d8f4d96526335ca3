"""The commands of the action, one module each: settings and tools in, an exit code out."""
