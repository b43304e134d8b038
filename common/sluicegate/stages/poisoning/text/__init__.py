"""What can be hidden in free text, each in a channel of its own.

* ``hidden`` finds characters that a reader does not see, and that no script explains;
* ``surprisal`` finds text that no other text resembles: random strings, floods;
* ``ngrams`` finds words and phrases that decide the label against the rest of the text,
  which is what a backdoor in text does;
* ``neighbours`` finds one text many times over, hardly changed, and one text with two labels;
* ``features`` makes points of documents, for the channels that need some;
* ``tokens`` cuts text of any script into words, and hashes them the same way everywhere.

Channels take texts as a sequence of ``str``, labels as class codes, and return a
:class:`~sluicegate.stages.poisoning.channel.Channel`. Importing this package loads no
numerical library.
"""
