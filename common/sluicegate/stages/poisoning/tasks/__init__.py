"""Label checks for tasks other than one class for each row.

* ``regression``: a number for each row;
* ``multilabel``: any number of classes for each row;
* ``tokens``: a class for each token of a sentence;
* ``excess``: what the last two count: contradictions beyond what predictions expect.

Each check is a function on arrays that returns a ``channel.Channel``, so predictions may come
from the models here or from anywhere else. What cannot be judged is answered with
``Channel.unknown``. Importing a module loads no numerical library.
"""
