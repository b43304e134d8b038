"""The command line: the same gates without an orchestrator. One file a command."""
