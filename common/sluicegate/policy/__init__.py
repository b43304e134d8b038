"""Policy: the YAML that a team keeps in git, and the verdicts that follow from it.

``model`` is what a policy says, ``load`` reads it, ``decide`` judges reports by it.
"""
