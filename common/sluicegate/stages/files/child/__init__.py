"""A process with limits, for parsers of native code that hostile bytes may crash.

``nursery`` runs in the stage and starts, asks and ends the process; ``loop`` is the process;
``readers`` are what it does. They share nothing but a socket and open files.
"""
