"""Labels against out-of-sample probabilities, in bounded memory and exactly.

* ``probabilities`` and ``files`` hand out rows in batches, from arrays and from files;
* ``learning`` and ``pruning`` are confident learning as cleanlab's default filter does it;
* ``rule`` is the default rule, which finds out what kind of noise there is;
* ``scan`` puts them together; ``kernels`` and ``compiled`` are the inner loops.
"""
