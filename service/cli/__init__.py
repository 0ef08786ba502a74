"""The commands, one module each: ``add_parser`` puts it on the command line, ``run`` does it."""
